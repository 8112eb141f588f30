import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  createKey,
  formatPairing,
  type Key,
  parsePairing,
  readKeyFile,
  writeKeyFile,
} from '../../src/store/key-file.ts';

const uid = process.getuid?.();
const golden: Key = {
  id: 'AAECAwQFBgcICQoLDA0ODw',
  secret: Buffer.from(Array.from({ length: 32 }, (_, i) => 0xe0 + i)),
};
const goldenText = 'replica1:AAECAwQFBgcICQoLDA0ODw:4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8';

t.test('golden pairing string', async t => {
  t.equal(formatPairing(golden), goldenText);
  t.equal(goldenText.length, 75);
  t.same(parsePairing(goldenText), golden);
  t.same(parsePairing(`  ${goldenText}\r\n`), golden);
});

t.test('new keys are random', async t => {
  const keys = Array.from({ length: 100 }, () => createKey({ label: 'x' }));
  t.equal(new Set(keys.map(key => key.id)).size, 100);
  t.equal(new Set(keys.map(key => key.secret.toString('hex'))).size, 100);
  for (const key of keys)
    t.same(parsePairing(formatPairing(key)), { id: key.id, secret: key.secret });
});

t.test('refuses what is no pairing string, without repeating it', async t => {
  const bad = [
    '',
    'replica1',
    goldenText.slice(0, -1),
    `${goldenText}A`,
    goldenText.replace('replica1', 'replica2'),
    goldenText.replace('_', '/'),
    goldenText.replace(':', ' '),
    `x${goldenText}`,
    `${goldenText}\n${goldenText}`,
    // The same bytes with other spare bits at the end.
    goldenText.replace(/8$/, '9'),
    goldenText.replace('Dw:', 'Dx:'),
  ];
  for (const text of bad) {
    t.throws(() => parsePairing(text), { code: 'ERR_AUTH' }, text);
    try {
      parsePairing(text);
    } catch (error) {
      t.notMatch(String(error), '4OHi', 'the secret is not in the message');
    }
  }
});

t.test('keys come back with their labels and dates, from a file nobody else may read', async t => {
  const path = join(t.testdir(), 'config', 'replica', 'receiver.key');
  const keys: Key[] = [
    { ...golden, label: 'laptop of Ana', created: '2026-11-21T10:00:00Z' },
    createKey({}),
    createKey({ label: 'no date' }),
    createKey({ created: '2026-11-22' }),
  ];
  t.equal(writeKeyFile(path, keys), true);
  t.same(readKeyFile(path, uid), keys);
  t.equal(fs.statSync(path).mode & 0o7777, 0o600);
  for (const folder of ['config/replica', 'config']) {
    t.equal(fs.statSync(join(path, '../../..', folder)).mode & 0o7777, 0o700);
  }
  t.equal(writeKeyFile(path, keys.slice(1)), true);
  t.same(readKeyFile(path, uid), keys.slice(1));
  t.same(fs.readdirSync(join(path, '..')), ['receiver.key'], 'nothing is left beside it');
});

t.test('a label cannot make another line', async t => {
  const path = join(t.testdir(), 'k');
  writeKeyFile(path, [createKey({ label: `a\n${goldenText}\r\u2028b\u202e` })]);
  const keys = readKeyFile(path, uid);
  t.equal(keys?.length, 1);
  t.equal(keys?.[0]?.label, `a ${goldenText} b`);
});

t.test('a pasted pairing string is a key file', async t => {
  const path = join(t.testdir({ k: `# for the backup host\n\n  ${goldenText}  \n` }), 'k');
  fs.chmodSync(path, 0o600);
  t.same(readKeyFile(path, uid), [golden]);
});

t.test('no file is not the same as no keys', async t => {
  const folder = t.testdir({ empty: '' });
  fs.chmodSync(join(folder, 'empty'), 0o600);
  t.equal(readKeyFile(join(folder, 'none'), uid), undefined);
  t.equal(readKeyFile(join(folder, 'no/folder'), uid), undefined);
  t.same(readKeyFile(join(folder, 'empty'), uid), []);
});

t.test('refuses a file that is not private, and says what to do', async t => {
  const folder = t.testdir({ k: `${goldenText}\n` });
  const path = join(folder, 'k');
  for (const mode of [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666]) {
    fs.chmodSync(path, mode);
    t.throws(() => readKeyFile(path, uid), {
      code: 'ERR_AUTH',
      message: `the key file ${path} can be used by others: chmod 600 ${path}`,
    });
  }
  fs.chmodSync(path, 0o400);
  t.same(readKeyFile(path, uid), [golden]);
  fs.chmodSync(path, 0o600);
  t.throws(() => readKeyFile(path, (uid ?? 0) + 1), {
    code: 'ERR_AUTH',
    message: /belongs to user/,
  });
});

t.test('refuses links, folders and pipes, and does not wait for a pipe', async t => {
  const folder = t.testdir({ k: `${goldenText}\n`, folder: {} });
  fs.chmodSync(join(folder, 'k'), 0o600);
  fs.symlinkSync('k', join(folder, 'link'));
  execFileSync('mkfifo', ['-m', '600', join(folder, 'pipe')]);
  t.throws(() => readKeyFile(join(folder, 'link'), uid), { code: 'ERR_AUTH', message: /link/ });
  t.throws(() => readKeyFile(join(folder, 'folder'), uid), {
    code: 'ERR_AUTH',
    message: /regular/,
  });
  t.throws(() => readKeyFile(join(folder, 'pipe'), uid), { code: 'ERR_AUTH', message: /regular/ });
});

t.test('a damaged file lets nobody in: it names the line, not the secret', async t => {
  const path = join(t.testdir(), 'k');
  const rows = [`${goldenText}\nreplica1:broken\n`, `${goldenText}\n${goldenText}\n`];
  for (const text of rows) {
    fs.writeFileSync(path, text, { mode: 0o600 });
    t.throws(() => readKeyFile(path, uid), { code: 'ERR_AUTH', message: /k, line 2: / });
  }
  fs.writeFileSync(path, Buffer.alloc(2 * 1024 * 1024, 0x23));
  t.throws(() => readKeyFile(path, uid), { code: 'ERR_AUTH', message: /too large/ });
});

t.test('a new file does not replace one that is there', async t => {
  const path = join(t.testdir(), 'k');
  t.equal(writeKeyFile(path, [golden], { isNew: true }), true);
  t.equal(writeKeyFile(path, [createKey({})], { isNew: true }), false);
  t.same(readKeyFile(path, uid), [golden]);
  t.same(fs.readdirSync(join(path, '..')), ['k']);
});

t.test('writing replaces a link by the file, and does not follow it', async t => {
  const folder = t.testdir({ precious: 'precious' });
  fs.symlinkSync('precious', join(folder, 'k'));
  writeKeyFile(join(folder, 'k'), [golden]);
  t.equal(fs.readFileSync(join(folder, 'precious'), 'utf8'), 'precious');
  t.same(readKeyFile(join(folder, 'k'), uid), [golden]);
});

t.test('says where it could not write', async t => {
  const folder = t.testdir({ file: '' });
  const path = join(folder, 'file', 'k');
  t.throws(() => writeKeyFile(path, [golden]), {
    code: 'ERR_IO',
    message: new RegExp(`cannot write the key file ${path} \\((ENOTDIR|EEXIST)\\)`),
  });
});
