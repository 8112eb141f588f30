import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import t from 'tap';
import { KeyRing } from '../../src/cli/keys.ts';
import { silentLog } from '../../src/log.ts';
import { createKey, formatPairing, writeKeyFile } from '../../src/store/key-file.ts';
import { runInProcess, runSpawned } from '../support/run-cli.ts';

const uid = process.geteuid?.();
const pairing = /^replica1:([\w-]{22}):[\w-]{43}\n$/;

t.test('key new, show, list and revoke', async t => {
  const home = t.testdir();
  const key = (...argv: string[]) => runInProcess(['key', ...argv], { home });
  const none = await key('show');
  t.equal(none.code, 5);
  t.match(
    none.stderr,
    /^replica: there is no key file .*receiver\.key: 'replica receive' makes it/,
  );

  const first = await key('new', '--label', 'old laptop');
  t.equal(first.code, 0);
  t.match(first.stdout, pairing);
  const file = join(home, '.config/replica/receiver.key');
  t.equal(statSync(file).mode & 0o777, 0o600);
  t.equal(statSync(join(home, '.config/replica')).mode & 0o777, 0o700);
  const second = await key('new');
  t.not(second.stdout, first.stdout);
  t.equal((await key('show')).stdout, second.stdout, 'the newest');

  const list = await key('list');
  const firstId = pairing.exec(first.stdout)?.[1] ?? '';
  t.match(list.stdout, new RegExp(`^${firstId}  20.*Z  old laptop\n`));
  t.equal(list.stdout.trimEnd().split('\n').length, 2);
  const secret = first.stdout.trim().split(':')[2] ?? 'none';
  t.notOk(list.stdout.includes(secret), 'no secrets');

  const unknown = await key('revoke', 'nope');
  t.equal(unknown.code, 1);
  t.match(unknown.stderr, "there is no key 'nope'; 'replica key list' prints the ids");
  const revoked = await key('revoke', '--', firstId);
  t.equal(revoked.stdout, `revoked ${firstId}, 1 left\n`);
  t.notMatch((await key('list')).stdout, firstId);
});

t.test('pair keeps a pairing string for one receiver, private', async t => {
  const home = t.testdir();
  const key = createKey({});
  const result = await runInProcess(['pair', 'Backup:80'], {
    home,
    stdin: `${formatPairing(key)}\nsomething else\n`,
  });
  t.strictSame(result, { code: 0, stdout: `paired with Backup:80, key ${key.id}\n`, stderr: '' });
  const ring = new KeyRing({ home, env: {}, uid });
  const place = { keyFile: undefined, environmentKey: undefined };
  t.equal(ring.forPush({ ...place, host: 'backup', port: 80 }).id, key.id);
  t.throws(() => ring.forPush({ ...place, host: 'backup', port: 81 }), {
    code: 'ERR_AUTH',
    message:
      /^no key for backup:81: run 'replica key show' on the receiver, then 'replica pair backup:81'/,
  });
  const mode = statSync(join(home, '.config/replica/paired/backup%3A80.key')).mode;
  t.equal(mode & 0o777, 0o600);
});

t.test('pair refuses what is no pairing string, without repeating it', async t => {
  const home = t.testdir();
  for (const stdin of ['', 'hunter2\n', 'replica1:short:x\n', 'x'.repeat(100_000)]) {
    const { code, stderr } = await runInProcess(['pair', 'host'], { home, stdin });
    t.equal(code, 5);
    t.match(stderr, /^replica: standard input: .*'replica key show' on the receiver prints one\n$/);
    t.notMatch(stderr, /hunter2|xxxx/);
  }
  t.notOk(existsSync(join(home, '.config/replica/paired')));
});

/** A terminal on which someone types. */
class Keyboard extends Readable {
  readonly isTTY = true;
  readonly modes: boolean[] = [];

  setRawMode(isRaw: boolean): void {
    this.modes.push(isRaw);
  }

  override _read(): void {}
}

t.test('pair asks on a terminal without showing what is typed', async t => {
  const key = formatPairing(createKey({}));
  const rows: [string[], number, RegExp][] = [
    [[key, '\r'], 0, /^pairing string of host:7375 \(not shown\): \n$/],
    [[`x\x7f${key}`, '\n'], 0, /^pairing string/],
    [[key.slice(0, 9), '\x03'], 1, /given up: nothing was stored/],
    [['\x04'], 5, /what you pasted: not a pairing string/],
  ];
  for (const [typed, expected, message] of rows) {
    const keyboard = new Keyboard();
    for (const text of typed) keyboard.push(text);
    const home = t.testdir();
    const { code, stdout, stderr } = await runInProcess(['pair', 'host'], {
      home,
      stdin: keyboard,
    });
    t.equal(code, expected);
    t.match(stderr, message);
    t.notOk(`${stdout}${stderr}`.includes(key.slice(40)), 'no secret on the screen');
    t.same(keyboard.modes, [true, false], 'the terminal is put right again');
  }
});

t.test('pair ends when it is stopped', async t => {
  const stop = new AbortController();
  const asked = runInProcess(['pair', 'host'], {
    home: t.testdir(),
    stdin: new Keyboard(),
    signal: stop.signal,
  });
  stop.abort();
  t.match(await asked, { code: 1, stderr: /given up/ });
});

t.test('push looks for its key in the documented order', async t => {
  const home = t.testdir();
  const ring = new KeyRing({ home, env: {}, uid });
  const [own, paired, given, file] = [{}, {}, {}, {}].map(createKey);
  if (!own || !paired || !given || !file) throw new Error('unreachable');
  const config = join(home, '.config/replica');
  const local = { host: '127.0.0.1', port: 7375, keyFile: undefined, environmentKey: undefined };
  t.throws(() => ring.forPush(local), { code: 'ERR_AUTH' });
  writeKeyFile(join(config, 'receiver.key'), [createKey({}), own]);
  t.equal(ring.forPush(local).id, own.id, 'on this machine, the newest own key');
  t.throws(() => ring.forPush({ ...local, host: '10.0.0.1' }), { code: 'ERR_AUTH' });
  ring.keepPaired('127.0.0.1', 7375, paired);
  t.equal(ring.forPush(local).id, paired.id);
  const environmentKey = { value: formatPairing(given), origin: 'REPLICA_KEY' };
  t.equal(ring.forPush({ ...local, environmentKey }).id, given.id);
  writeKeyFile(join(home, 'a.key'), [file]);
  const keyFile = { value: join(home, 'a.key'), origin: '--key-file' };
  t.equal(ring.forPush({ ...local, environmentKey, keyFile }).id, file.id);
});

t.test('a key that cannot be used is named, not skipped for the next in the order', async t => {
  const home = t.testdir({ src: {} });
  const push = (...flags: string[]) =>
    runInProcess(['push', 'src', '127.0.0.1', ...flags], { home });
  await runInProcess(['key', 'new'], { home });
  t.match(await push('--key-file', 'none'), { code: 5, stderr: /there is no key file .*none$/m });
  writeKeyFile(join(home, 'open.key'), [createKey({})]);
  chmodSync(join(home, 'open.key'), 0o644);
  const open = await push('--key-file', 'open.key');
  t.match(open, { code: 5, stderr: /can be used by others: chmod 600/ });
  writeFileSync(join(home, 'bad.key'), 'rubbish\n', { mode: 0o600 });
  t.match(await push('--key-file', join(home, 'bad.key')), { code: 5, stderr: /line 1/ });
  const wrong = await runInProcess(['push', 'src', '127.0.0.1'], {
    home,
    env: { REPLICA_KEY: 'x' },
  });
  t.match(wrong, { code: 5, stderr: /^replica: REPLICA_KEY: not a pairing string/ });
});

t.test('a running receiver follows new and revoked keys', async t => {
  const home = t.testdir();
  const ring = new KeyRing({ home, env: {}, uid });
  const first = ring.makeOwnOnFirstUse();
  t.ok(first);
  t.equal(ring.makeOwnOnFirstUse(), undefined, 'only once');
  const lines: string[] = [];
  const keys = ring.followOwn({ ...silentLog, error: (_, message) => void lines.push(message) });
  t.same(keys(), ring.own());
  t.equal(keys(), keys(), 'an unchanged file is not read again');
  const second = ring.addOwn('laptop');
  t.same(
    keys().map(key => key.id),
    [first?.id, second.id],
  );
  ring.revokeOwn(first?.id ?? '');
  t.same(
    keys().map(key => key.id),
    [second.id],
  );
  chmodSync(ring.ownFile, 0o666);
  t.same(keys(), [], 'a key file that others may write accepts nobody');
  t.match(lines, [/^nobody can connect: .*chmod 600/]);
});

t.test('keys made at the same time are all there', async t => {
  const home = t.testdir();
  const made = Array.from({ length: 6 }, () => runSpawned(['key', 'new'], { home }));
  const ids = (await Promise.all(made)).map(({ stdout }) => pairing.exec(stdout)?.[1] ?? 'none');
  const list = await runInProcess(['key', 'list'], { home });
  for (const id of ids) t.ok(list.stdout.includes(id), id);
});
