// What users get wrong, one row each, with the built command: one clear line, a documented code.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { compareIndependently } from '../support/rsync.ts';
import { mainFile } from '../support/run-cli.ts';
import { place, receiving, refused, run, start } from '../support/stage.ts';

t.test('missing source', async t => {
  const home = place(t);
  refused(
    t,
    await run(home, 'push', 'nope', './dst'),
    3,
    /^replica: source .*nope does not exist$/,
  );
  t.notOk(existsSync(join(home, 'dst')), 'and no destination is made');
});

t.test('the source is a file', async t => {
  const result = await run(place(t), 'push', 'file', './dst');
  refused(t, result, 3, /^replica: source .*file is not a directory/);
});

t.test('the destination is inside the source', async t => {
  const home = place(t);
  refused(t, await run(home, 'push', 'src', './src/dst'), 3, /is inside the source/);
  t.notOk(existsSync(join(home, 'src/dst')));
});

t.test('the source is inside the destination', async t => {
  const result = await run(place(t), 'push', 'src/sub', './src', '--adopt');
  refused(t, result, 3, /is inside the destination/);
});

t.test('a destination to be made whose name is not UTF-8', async t => {
  const home = place(t);
  const before = readdirSync(home);
  // Node.js reads another name than the one that was given.
  const command = `exec "$0" "$1" push --once src "./caf$(printf '\\351')"`;
  const env = { PATH: process.env.PATH, HOME: home };
  const argv = ['-c', command, process.execPath, mainFile];
  const { status, stderr } = spawnSync('sh', argv, { cwd: home, env, encoding: 'utf8' });
  t.equal(status, 3, stderr);
  t.match(stderr, /^replica: destination .*caf.* cannot be made: not UTF-8$/m);
  t.same(readdirSync(home), before, 'no other folder is made');
});

t.test('unknown flag', async t => {
  const result = await run(place(t), 'push', 'src', './dst', '--bogus');
  refused(t, result, 1, "replica: there is no flag --bogus for push; see 'replica push --help'");
});

t.test('bad interval', async t => {
  const result = await run(place(t), 'push', 'src', './dst', '--interval', 'soon');
  refused(t, result, 1, "replica: --interval: 'soon' is not a duration such as 500, 2s or 24h");
});

t.test('port in use', async t => {
  const home = place(t);
  const server = net.createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const flags = ['--host', '127.0.0.1', '--port', `${port}`];
  const result = await run(home, 'receive', 'dst', ...flags);
  refused(t, result, 10, new RegExp(`port ${port} is in use: .*--port`));
});

t.test('unreachable host: --once gives up after --timeout', async t => {
  const home = place(t);
  await run(home, 'key', 'new');
  const startedMs = Date.now();
  const result = await run(home, 'push', 'src', '127.0.0.1:1', '--once', '--timeout', '1s');
  refused(t, result, 30, /^replica: gave up after --timeout: cannot connect to 127\.0\.0\.1:1/);
  t.ok(Date.now() - startedMs < 10_000);
});

t.test('unreachable host: keeps trying, and says so', async t => {
  const home = place(t);
  await run(home, 'key', 'new');
  const push = start(t, home, 'push', '-v', 'src', '127.0.0.1:1');
  await push.until(one => /trying again in.*trying again in/s.test(one.stderr));
  t.equal(await push.stop(), 0, 'ended by a signal: it did what it was asked');
});

t.test('no key', async t => {
  const home = place(t);
  const result = await run(home, 'push', 'src', 'localhost:1', '--once');
  refused(t, result, 5, /^replica: no key for localhost:1: run 'replica key show'/);
});

t.test("another user's key", async t => {
  const home = place(t);
  const address = await receiving(t, home);
  const stranger = join(home, 'other');
  await run(stranger, 'key', 'new');
  const result = await run(stranger, 'push', '../src', address, '--once', '--timeout', '5s');
  refused(t, result, 5, /refused the key .*replica pair/);
});

t.test('a non-empty destination without --adopt', async t => {
  const home = place(t);
  refused(t, await run(home, 'push', 'src', './other', '--once'), 3, /other.*--adopt/);
  refused(t, await run(home, 'receive', 'other', '--port', '0'), 3, /other.*--adopt/);
  t.same(readdirSync(join(home, 'other')), ['c.txt'], 'nothing was touched');
});

t.test('a non-empty destination with --adopt becomes the source', async t => {
  const home = place(t);
  t.equal((await run(home, 'push', 'src', './other', '--once', '--adopt')).code, 0);
  t.same(await compareIndependently(join(home, 'src'), join(home, 'other')), []);
});

t.test('another source without --take-over', async t => {
  const home = place(t);
  t.equal((await run(home, 'push', 'src', './dst', '--once')).code, 0);
  const result = await run(home, 'push', 'other', './dst', '--once');
  refused(t, result, 3, /--take-over/);
  t.same(await compareIndependently(join(home, 'src'), join(home, 'dst')), []);
  const taken = await run(home, 'push', 'other', './dst', '--once', '--take-over');
  t.equal(taken.code, 0, taken.stderr);
  t.same(await compareIndependently(join(home, 'other'), join(home, 'dst')), []);
});

t.test('two pushes to one destination: the newer one wins', async t => {
  const home = place(t);
  const address = await receiving(t, home);
  const first = start(t, home, 'push', 'src', address);
  await first.until(one => one.stderr.includes('in sync'));
  const second = start(t, home, 'push', 'src', address, '--state', 'second-state');
  await second.until(one => one.stderr.includes('in sync'));
  const { code, stderr } = await first.result();
  t.equal(code, 12);
  t.match(stderr, /^replica: /m);
  writeFileSync(join(home, 'src/new'), 'x');
  await second.until(() => existsSync(join(home, 'dst/new')));
});
