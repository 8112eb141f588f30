import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { systemCode } from '../../src/errors.ts';
import { SourceFile } from '../../src/tree/source-file.ts';
import {
  type ReadableFile,
  SourceFiles,
  type SourceFilesOptions,
} from '../../src/tree/source-files.ts';
import type { FilePlace } from '../../src/tree/source-task.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { makeGate } from '../support/gate.ts';
import { until } from '../support/until.ts';

type T = Parameters<Parameters<typeof t.test>[0]>[0];

const module = new URL('../support/slow-source-worker.js', import.meta.url);

function openFiles(t: T, options: Partial<SourceFilesOptions> = {}) {
  const root = join(makeDiskFolder(t), 'source');
  fs.mkdirSync(root);
  const files = new SourceFiles({ root, jobs: 8, module, ...options });
  t.teardown(() => files.close());
  return { root, files };
}

function placeOf(root: string, path: string): FilePlace {
  const { size, mtimeNs, ctimeNs, ino } = fs.lstatSync(join(root, path), { bigint: true });
  return { path, expected: { size: Number(size), mtimeNs, ctimeNs, ino } };
}

/** What a reader makes of it, by buffers of a size that fits nothing. */
function readAll(open: () => ReadableFile): string {
  let file: ReadableFile | undefined;
  try {
    file = open();
    const parts: Buffer[] = [];
    for (;;) {
      const buffer = Buffer.alloc(70_001);
      const count = file.read(buffer);
      parts.push(buffer.subarray(0, count));
      if (count < buffer.length || file.isRead) break;
    }
    const { isRead } = file;
    return `${isRead} ${file.isAsExpected()} ${Buffer.concat(parts).toString('latin1')}`;
  } catch (error) {
    return systemCode(error) ?? 'a bug';
  } finally {
    file?.close();
  }
}

t.test('what threads read ahead is what one alone reads', async t => {
  const { root, files } = openFiles(t);
  const at = (name: string): string => join(root, name);
  const sizes = { empty: 0, one: 1, part: 128 * 1024, more: 128 * 1024 + 1, large: 1_000_000 };
  for (const [name, size] of Object.entries(sizes)) {
    fs.writeFileSync(at(name), Buffer.from(Array.from({ length: size }, (_, i) => i % 251)));
  }
  const changing: Record<string, (path: string) => void> = {
    grown: path => fs.appendFileSync(path, 'more'),
    cut: path => fs.truncateSync(path, 3),
    touched: path => fs.utimesSync(path, 1, 1),
    replaced: path => fs.renameSync(at('other'), path),
    gone: path => fs.rmSync(path),
    link: path => {
      fs.rmSync(path);
      fs.symlinkSync('one', path);
    },
    directory: path => {
      fs.rmSync(path);
      fs.mkdirSync(path);
    },
    'below/a/file': path => {
      fs.rmSync(join(path, '..'), { recursive: true });
      fs.writeFileSync(join(path, '..'), 'a file');
    },
  };
  fs.mkdirSync(at('below/a'), { recursive: true });
  for (const name of Object.keys(changing)) fs.writeFileSync(at(name), `content of ${name}`);
  fs.writeFileSync(at('other'), 'content of another');
  const places = [...Object.keys(sizes), ...Object.keys(changing)].map(name => placeOf(root, name));
  for (const [name, change] of Object.entries(changing)) change(at(name));
  for (let i = 0; i < 50; i++) {
    fs.writeFileSync(at(`f${i}`), `${i}`);
    places.push(placeOf(root, `f${i}`));
  }

  files.expect(places);
  for (const place of places) {
    const alone = readAll(() => SourceFile.open(root, place.path, place.expected));
    t.equal(
      readAll(() => files.open(place)),
      alone,
      place.path,
    );
  }
  const again = placeOf(root, 'one');
  t.equal(
    readAll(() => files.open(again)),
    'true true \0',
    'one that was not expected',
  );
});

t.test('eight files are read side by side', async t => {
  const { root, files } = openFiles(t);
  for (let i = 0; i < 64; i++) fs.writeFileSync(join(root, `f${i}`), `${i}`);
  const places = Array.from({ length: 64 }, (_, i) => placeOf(root, `f${i}`));
  const inside = makeGate(root, 'f');
  files.expect(places);
  const found = places.map(place => readAll(() => files.open(place)));
  t.strictSame(
    found,
    places.map((_, i) => `true true ${i}`),
  );
  t.equal(inside(), 8);
});

t.test('a file that hangs is given up, and holds no other up', async t => {
  const { root, files } = openFiles(t, { jobs: 2, hangMs: 150 });
  for (let i = 0; i < 40; i++) fs.writeFileSync(join(root, `f${i}`), `${i}`);
  const places = Array.from({ length: 40 }, (_, i) => placeOf(root, `f${i}`));
  const read = (): string[] => {
    files.expect(places);
    return places.map(place => readAll(() => files.open(place)));
  };
  const whole = places.map((_, i) => `true true ${i}`);
  fs.writeFileSync(`${root}.hang`, 'f7', 'latin1');
  for (let i = 0; i < 3; i++) t.strictSame(read(), whole.with(7, 'ETIMEDOUT'));
  fs.rmSync(`${root}.hang`);
  await until(() => read()[7] !== 'ETIMEDOUT', 'what hung');
  t.strictSame(read(), whole);
});

t.test('what nobody asks for any more does not come in place of the next', async t => {
  const { root, files } = openFiles(t);
  for (const name of ['a', 'b']) fs.writeFileSync(join(root, name), name);
  const [a, b] = [placeOf(root, 'a'), placeOf(root, 'b')];
  files.expect([a, b]);
  files.expect([b]);
  fs.rmSync(join(root, 'a'));
  t.equal(
    readAll(() => files.open(b)),
    'true true b',
  );
  t.equal(
    readAll(() => files.open(a)),
    'ENOENT',
    'read when it is asked for',
  );
});

t.test('a slow file system gets threads, a quick one none', async t => {
  for (const [callMs, isSlow] of [
    [0.01, false],
    [1, true],
  ] as const) {
    let nowMs = 0;
    const clock = (): number => {
      nowMs += callMs / 2;
      return nowMs;
    };
    const { root, files } = openFiles(t, { jobs: 'auto', hangMs: 100, nowMs: clock });
    fs.writeFileSync(join(root, 'f'), 'x');
    for (let i = 0; i < 600; i++) {
      const place = placeOf(root, 'f');
      files.expect([place]);
      readAll(() => files.open(place));
    }
    // Only threads hang here.
    fs.writeFileSync(`${root}.hang`, 'f', 'latin1');
    const place = placeOf(root, 'f');
    files.expect([place]);
    t.equal(
      readAll(() => files.open(place)),
      isSlow ? 'ETIMEDOUT' : 'true true x',
      `${callMs} ms`,
    );
    fs.rmSync(`${root}.hang`);
  }
});
