// The examples of README run as they stand, from outside the package's own code.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import * as library from '../src/index.ts';
import { makeDiskFolder } from './support/folders.ts';

const readme = fs.readFileSync('README.md', 'utf8');
const examples = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code = '']) => code);

/** Its output; `folder` lies in the package, which finds itself by its name from there. */
function run(folder: string, code: string): string {
  fs.writeFileSync(join(folder, 'example.mjs'), code);
  const { status, stdout, stderr } = spawnSync(process.execPath, ['example.mjs'], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 60_000,
  });
  if (status !== 0) throw new Error(`${status}: ${stdout}${stderr}`);
  return stdout;
}

t.test('a sender and a receiver in one program', async t => {
  const folder = makeDiskFolder(t);
  const lines = run(folder, examples[0] ?? '').split('\n');
  t.equal(lines[0], 'in sync, 1 entry');
  t.equal(lines[1], 'hello again');
  t.equal(fs.readFileSync(join(folder, 'copy/index.html'), 'utf8'), 'hello again');
});

t.test('over the network, with the right key and a wrong one', async t => {
  t.equal(run(makeDiskFolder(t), examples[1] ?? ''), 'ERR_AUTH\n');
});

t.test('README has no other example, and what it imports is there', async t => {
  t.equal(examples.length, 2);
  const names = examples
    .flatMap(code => [...code.matchAll(/import \{([^}]*)\} from '@replica\/replica'/g)])
    .flatMap(([, list = '']) => list.split(',').map(name => name.trim()));
  t.ok(names.length >= 9);
  for (const name of names) t.ok(name in library, name);
});

async function openAt(t: Test, changes: Partial<library.SenderOptions>): Promise<library.Sender> {
  const folder = makeDiskFolder(t);
  fs.mkdirSync(join(folder, 'source'));
  const sender = await library.Sender.open({
    ...library.senderDefaults,
    source: join(folder, 'source'),
    stateFolder: join(folder, 'state'),
    label: 'test',
    sourceId: Buffer.alloc(16, 1),
    cpuMs: () => 0,
    signal: new AbortController().signal,
    connect: () => Promise.reject(new library.ReplicaError('ERR_AUTH', 'no')),
    ...changes,
  });
  t.teardown(() => sender.close());
  return sender;
}

t.test('cycles throws the typed error that ended the sender, and ends with its signal', async t => {
  const refused = await openAt(t, {
    connect: () => Promise.reject(new library.ReplicaError('ERR_FOREIGN', 'another source')),
  });
  await t.rejects(refused.cycles().next(), { code: 'ERR_FOREIGN', message: 'another source' });
  const stopped = await openAt(t, { signal: AbortSignal.abort() });
  t.same(await stopped.cycles().next(), { done: true, value: undefined });
  await t.rejects(stopped.flush(), { code: 'ERR_SOCKET' });
});
