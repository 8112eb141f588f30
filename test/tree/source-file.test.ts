import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type ExpectedFile, SourceFile } from '../../src/tree/source-file.ts';

function scanned(path: string): ExpectedFile {
  const { size, mtimeNs, ctimeNs, ino } = fs.lstatSync(path, { bigint: true });
  return { size: Number(size), mtimeNs, ctimeNs, ino };
}

/** `change` comes after the scan; what is read then, and whether it counts. */
function read(t: Test, change: (path: string) => void): { text: string; counts: boolean } {
  const root = t.testdir({ f: 'content' });
  const path = join(root, 'f');
  const expected = scanned(path);
  change(path);
  const file = SourceFile.open(root, 'f', expected);
  try {
    const buffer = Buffer.alloc(100);
    const text = buffer.toString('latin1', 0, file.read(buffer));
    return { text, counts: file.isRead && file.isAsExpected() };
  } finally {
    file.close();
  }
}

t.test('what the scan saw is read, and counts while the file stays it', async t => {
  t.strictSame(
    read(t, () => {}),
    { text: 'content', counts: true },
  );
});

t.test('a file that grew is read as far as it was seen, and does not count', async t => {
  const grown = read(t, path => fs.appendFileSync(path, ' and more'));
  t.strictSame(grown, { text: 'content', counts: false });
});

t.test('a file that was cut short does not count', async t => {
  const cut = read(t, path => fs.truncateSync(path, 3));
  t.strictSame(cut, { text: 'con', counts: false });
});

t.test('other content of the same size and time does not count', async t => {
  const other = read(t, path => {
    const { atime, mtime } = fs.statSync(path);
    fs.writeFileSync(`${path}.new`, 'CONTENT');
    fs.utimesSync(`${path}.new`, atime, mtime);
    fs.renameSync(`${path}.new`, path);
  });
  t.strictSame(other, { text: 'CONTENT', counts: false });
});

t.test('a FIFO in its place is not waited on', async t => {
  const fifo = read(t, path => {
    fs.rmSync(path);
    execFileSync('mkfifo', [path]);
  });
  t.strictSame(fifo, { text: '', counts: false });
});
