import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { whileLocked, writePrivateFile } from '../../src/store/private-file.ts';

const what = 'the file';

t.test('a lock is let go of, also when the change fails, and leaves nothing', t => {
  const folder = t.testdir();
  const path = join(folder, 'sub/file');
  t.equal(
    whileLocked(path, what, () => writePrivateFile(path, 'one', { what })),
    true,
  );
  t.equal(statSync(join(folder, 'sub')).mode & 0o777, 0o700);
  const failure = new Error('no');
  t.throws(
    () =>
      whileLocked(path, what, () => {
        throw failure;
      }),
    failure,
  );
  t.equal(
    whileLocked(path, what, () => readFileSync(path, 'utf8')),
    'one',
  );
  t.same(readdirSync(join(folder, 'sub')), ['file']);
  t.end();
});

t.test('the lock of a program that was killed is taken after a while', t => {
  const folder = t.testdir({ '.file.lock': '' });
  const path = join(folder, 'file');
  t.equal(
    whileLocked(path, what, () => 1, 30),
    1,
  );
  t.same(readdirSync(folder), []);
  t.end();
});

t.test('a folder that cannot be written to is named', t => {
  const folder = t.testdir();
  writeFileSync(join(folder, 'file'), '');
  t.throws(() => whileLocked(join(folder, 'file/x'), what, () => 1), {
    code: 'ERR_IO',
    message: /^cannot write the file .*file\/x \((ENOTDIR|EEXIST)\)$/,
  });
  t.end();
});
