// Node 24 brings another OpenSSL: other key exchanges, other errors. Both must meet, both ways.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import t from 'tap';
import { createKey, formatPairing } from '../../src/store/key-file.ts';

const run = promisify(execFile);
const program = join(import.meta.dirname, '../support/link-program.js');
const newer = 24;
const key = createKey({});

/** The program of Node `newer`, from the registry's cache or the registry, or why not. */
async function findNewer(): Promise<{ path: string } | { reason: string }> {
  if (process.versions.node.startsWith(`${newer}.`)) return { reason: 'this is that Node' };
  const words = [
    '--yes',
    '--prefer-offline',
    '-p',
    `node@${newer}`,
    'node',
    '-p',
    'process.execPath',
  ];
  try {
    const { stdout } = await run('npx', words, { timeout: 60_000, env: plainEnv() });
    return { path: stdout.trim() };
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n', 1)[0] : String(error);
    return { reason: `Node ${newer} is not to be had: ${why}` };
  }
}

/** Without what the test runner adds for its own children. */
function plainEnv(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, ...env } = process.env;
  return env;
}

/** What the two ends say in the end. */
async function meet(
  listening: string,
  dialling: string,
  dialPairing = formatPairing(key),
): Promise<{ readonly server: string; readonly client: string }> {
  const env = plainEnv();
  const server = spawn(listening, [program, 'listen', formatPairing(key)], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(server, 'exit');
  const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
  try {
    const { value: port } = await lines.next();
    const words = [program, 'dial', dialPairing, '127.0.0.1', String(port)];
    const { stdout } = await run(dialling, words, { env, timeout: 60_000 });
    if (dialPairing !== formatPairing(key)) return { server: '', client: stdout.trim() };
    return { server: String((await lines.next()).value), client: stdout.trim() };
  } finally {
    server.kill('SIGKILL');
    await exited;
  }
}

t.test('two programs of this Node meet', async t => {
  const { server, client } = await meet(process.execPath, process.execPath);
  t.equal(client, 'welcome 7');
  t.equal(server, `served ${key.id} ${process.version}`);
});

t.test('this Node and a newer one meet, both ways round', { timeout: 120_000 }, async t => {
  const found = await findNewer();
  if ('reason' in found) {
    t.pass('meet', { skip: found.reason });
    return;
  }
  const { stdout } = await run(found.path, ['-p', 'process.version'], { env: plainEnv() });
  const version = stdout.trim();
  t.match(version, new RegExp(`^v${newer}\\.`));
  const wrong = formatPairing({ ...key, secret: createKey({}).secret });
  const here = process.execPath;
  for (const [listening, dialling] of [
    [here, found.path],
    [found.path, here],
    [found.path, found.path],
  ] as const) {
    const { server, client } = await meet(listening, dialling);
    t.equal(client, 'welcome 7');
    t.equal(server, `served ${key.id} ${dialling === here ? process.version : version}`);
    t.equal((await meet(listening, dialling, wrong)).client, 'ERR_AUTH');
  }
});
