// P6: who has no key gets in nowhere and learns nothing, and who has one does not notice them. Over
// ssh there is no port and no key of ours: who gets in is for sshd to say.
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import t, { type Test } from 'tap';
import { selfSigned } from '../support/certificate.ts';
import { isPrivileged } from '../support/folders.ts';
import { Home, Program, waitUntil } from '../support/programs.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

const closedWithinMs = 20_000;

interface Scene {
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly home: Home;
  readonly port: number;
}

/** A receiver, and its owner's push that runs all the time. */
async function open(t: Test): Promise<Scene> {
  const folder = t.testdir({ source: { a: 'a' }, target: {}, other: { b: 'of another' } });
  const [source, target] = [join(folder, 'source'), join(folder, 'target')];
  const home = new Home(join(folder, 'home'));
  const { program: receive, port } = await home.receive(target);
  const push = home.push(source, `127.0.0.1:${port}`, ['--interval', '100']);
  t.teardown(async () => {
    await push.stop('SIGKILL');
    await receive.stop('SIGKILL');
  });
  await push.line(/in sync/);
  return { folder, source, target, home, port };
}

/** The owner's saves arrive; returns the slowest. */
async function works({ source, target }: Scene, name: string): Promise<number> {
  const startMs = performance.now();
  fs.writeFileSync(join(source, name), name);
  const isThere = () => fs.existsSync(join(target, name));
  await waitUntil(isThere, `the owner's ${name}`, 5_000);
  return performance.now() - startMs;
}

/** Ended with 5 and one line for people. */
async function refused(t: Test, program: Program, message: RegExp): Promise<void> {
  const { code } = await program.exit;
  const lines = program.lines.filter(line => line !== '' && !line.startsWith('{'));
  t.equal(code, 5, 'exit code');
  t.equal(lines.length, 1, lines.join('\n'));
  t.match(lines[0], message);
}

t.test("another user's push is refused in one line", async t => {
  const scene = await open(t);
  const { folder, target, port } = scene;
  const args = ['push', join(folder, 'other'), `127.0.0.1:${port}`, '--once'];

  const without = new Home(join(folder, 'without'));
  await refused(t, without.run(args), /no key/);

  const other = new Home(join(folder, 'another'));
  await other.run(['key', 'new']).exit;
  await refused(t, other.run(args), /refused the key|does not have the key/);
  t.ok((await works(scene, 'after')) < 5_000, 'the owner goes on');
  t.notOk(fs.existsSync(join(target, 'b')), 'nothing came from the others');
});

t.test('an unprivileged user cannot borrow the key', { skip: !canBeNobody() }, async t => {
  const scene = await open(t);
  const { folder, home, port, target } = scene;
  const main = new URL('../../src/cli/main.js', import.meta.url).pathname;
  const state = join(folder, 'nobody');
  fs.mkdirSync(state);
  fs.chownSync(state, 65534, 65534);
  // Even told where the owner's key is.
  const keys = ['--key-file', join(home.folder, 'config/replica/receiver.key')];
  for (const extra of [[], keys]) {
    const push = ['push', join(folder, 'other'), `127.0.0.1:${port}`, '--once', ...extra];
    const env = { PATH: home.env.PATH, HOME: state };
    const program = Program.spawn('setpriv', [...asNobody, process.execPath, main, ...push], env);
    const { code } = await program.exit;
    t.equal(code, 5, program.lines.join('\n'));
  }
  t.notOk(fs.existsSync(join(target, 'b')));
});

t.test('whoever does not speak is closed, and the owner goes on', async t => {
  const scene = await open(t);
  const random = seededRandom(1);
  const hello = Buffer.from('16030102000100', 'hex');
  const strangers: Record<string, (socket: net.Socket) => NodeJS.Timeout | undefined> = {
    idle: () => undefined,
    http: socket => {
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
      return undefined;
    },
    garbage: socket => {
      socket.write(randomBytes(random, 100_000));
      return undefined;
    },
    'slow drip': socket => {
      let at = 0;
      return setInterval(() => socket.write(hello.subarray(at % 7, (at++ % 7) + 1)), 300);
    },
    'half a handshake': socket => {
      socket.write(hello);
      return undefined;
    },
  };
  const closing = Object.entries(strangers).map(async ([name, speak]) => {
    const socket = net.connect(scene.port, '127.0.0.1');
    socket.on('error', () => {}).resume();
    const startMs = performance.now();
    const timer = speak(socket);
    // Not `end`: who says nothing may be closed by either.
    const isClosed = await Promise.race([
      new Promise<boolean>(resolve => socket.on('close', () => resolve(true))),
      new Promise<boolean>(resolve => setTimeout(resolve, closedWithinMs + 2_000, false)),
    ]);
    clearInterval(timer);
    socket.destroy();
    return { name, isClosed, ms: Math.round(performance.now() - startMs) };
  });
  const all = Promise.all(closing);
  let isOver = false;
  void all.then(() => {
    isOver = true;
  });
  const waits: number[] = [];
  for (let i = 0; !isOver; i++) {
    waits.push(Math.round(await works(scene, `during${i}`)));
    await new Promise(resolve => setTimeout(resolve, 200));
  }
  const closed = await all;
  t.comment(JSON.stringify({ closed, slowestSaveMs: Math.max(...waits) }));
  for (const { name, isClosed, ms } of closed) {
    t.ok(isClosed && ms < closedWithinMs, `${name}: closed after ${ms} ms`);
  }
  t.ok(waits.length > 3, 'the owner saved meanwhile');
});

t.test('an impostor learns nothing', async t => {
  const folder = t.testdir({ 'secret-source': { 'secret-name': 'secret-content' } });
  const home = new Home(join(folder, 'home'));
  await home.run(['key', 'new']).exit;
  const key = fs.readFileSync(join(folder, 'home/config/replica/receiver.key'), 'utf8');
  const certificate = selfSigned();
  const heard = { silent: [], mirror: [], certificate: [] } as Record<string, Buffer[]>;
  const servers: Record<string, net.Server> = {
    silent: net.createServer(),
    mirror: net.createServer(socket => void socket.pipe(socket)),
    certificate: tls.createServer(certificate, socket => {
      // Whatever came through the encryption.
      socket.on('error', () => {}).on('data', data => heard.certificate?.push(data));
    }),
  };
  for (const [name, server] of Object.entries(servers)) {
    let knocks = 0;
    server.on('connection', (socket: net.Socket) => {
      knocks++;
      socket.on('error', () => {}).on('data', data => heard[name]?.push(data));
    });
    server.on('tlsClientError', () => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo; // It listens on TCP.
    const args = ['push', join(folder, 'secret-source'), `127.0.0.1:${port}`];
    const program = home.run([...args, '--once', '--timeout', '1s']);
    const { code } = await program.exit;
    t.ok([5, 10, 12, 30].includes(code ?? 0), `${name}: exit ${code}`);
    server.close();
    const bytes = Buffer.concat(heard[name] ?? []);
    t.ok(knocks > 0, `${name}: somebody knocked`);
    const secrets = ['secret', ...key.split(/[\s:]/).filter(part => part.length > 40)];
    t.ok(secrets.length > 1, 'the key was looked for');
    for (const secret of secrets) {
      const isTold = [Buffer.from(secret), Buffer.from(secret, 'base64url')].some(
        form => form.length > 4 && bytes.includes(form),
      );
      t.notOk(isTold, `${name}: hears no secret`);
    }
  }
});

// Without tap's loaders, which write to the checkout.
const loaders = ['env', '-u', 'NODE_OPTIONS'];
const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups', ...loaders];

/** Only root can become another user, and that one must get at the checkout. */
function canBeNobody(): boolean {
  if (!isPrivileged) return false;
  for (let path = import.meta.dirname; path !== '/'; path = join(path, '..')) {
    if ((fs.statSync(path).mode & 0o5) !== 0o5) return false;
  }
  return true;
}
