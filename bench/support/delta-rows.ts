// The changes of the delta bench, each to a tree of its own kind. Times are set to whole seconds,
// another one for each change: rsync's quick check compares those.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { randomBytes, randomInteger, seededRandom } from '../../test/support/random.ts';
import { makeLargeFile, makeSmallFiles } from './trees.ts';

/** What a row must keep; ratios are to rsync in the same run. */
export interface Bars {
  readonly bytesRatio?: number;
  readonly secondsRatio?: number;
  readonly bytes?: number;
  readonly seconds?: number;
}

export interface Row {
  readonly name: string;
  readonly change: (source: string, run: number) => void;
  /** Makes the tree what it was, if the next row needs that. */
  readonly undo?: (source: string) => void;
  readonly bars: Bars;
}

export interface Group {
  readonly name: string;
  /** Fills the empty source. A text says why the group cannot be measured here. */
  readonly make: (source: string) => string | undefined;
  /** There is no room in memory for what is replaced: rows must not come back to old content. */
  readonly dropsKept?: boolean;
  /** Both compress. */
  readonly compresses?: boolean;
  readonly rows: readonly Row[];
}

const mebibyte = 1024 * 1024;
const firstSecond = 1_600_000_000;
/** Runs that make edits in places of their own. */
const runsMax = 10;
let changeCount = 0;

function age(path: string): void {
  const seconds = firstSecond + ++changeCount;
  fs.utimesSync(path, seconds, seconds);
}

export function largeFileGroup(size: number): Group {
  const pathIn = (source: string) => join(source, 'large');
  /** Where the `i`th of `count` edits of a run goes: away from the blocks that other runs touch. */
  const spread = (i: number, count: number, run: number): number =>
    Math.floor((size / count) * (i + ((run + 0.5) % runsMax) / runsMax));
  const edit = (source: string, act: (fd: number, random: () => number) => void): void => {
    const fd = fs.openSync(pathIn(source), 'r+');
    act(fd, seededRandom(changeCount));
    fs.closeSync(fd);
    age(pathIn(source));
  };
  const rename = (source: string): void => {
    const [from, to] = fs.existsSync(pathIn(source)) ? ['large', 'moved'] : ['moved', 'large'];
    fs.renameSync(join(source, from), join(source, to));
    age(source);
  };
  return {
    name: `${size / mebibyte} MiB file`,
    dropsKept: true,
    make: source => {
      makeLargeFile(pathIn(source), size);
      age(source);
      return undefined;
    },
    rows: [
      {
        name: 'one byte in place',
        bars: { bytes: 1000 },
        change: (source, run) =>
          edit(source, (fd, random) =>
            fs.writeSync(fd, randomBytes(random, 1), 0, 1, spread(0, 1, run)),
          ),
      },
      {
        name: 'ten one-byte edits in place',
        bars: { bytesRatio: 0.35, secondsRatio: 0.5 },
        change: (source, run) =>
          edit(source, (fd, random) => {
            for (let i = 0; i < 10; i++) {
              const at = spread(i, 10, run) + randomInteger(random, 4096);
              fs.writeSync(fd, randomBytes(random, 1), 0, 1, at);
            }
          }),
      },
      {
        name: 'insert 100 B in the middle',
        bars: { bytes: 1200, bytesRatio: 0.12, secondsRatio: 0.5 },
        change: (source, run) =>
          edit(source, (fd, random) =>
            insert(fd, size / 2 + run * mebibyte, randomBytes(random, 100)),
          ),
      },
      {
        name: 'append 1 MiB',
        bars: { bytesRatio: 0.8, secondsRatio: 0.5 },
        change: source =>
          edit(source, (fd, random) => {
            fs.writeSync(fd, randomBytes(random, mebibyte), 0, mebibyte, fs.fstatSync(fd).size);
          }),
      },
      {
        name: '1,000 random 4 KiB pages',
        bars: { bytes: 1.15 * 1000 * 4096, bytesRatio: 0.8, secondsRatio: 0.7 },
        change: (source, run) =>
          edit(source, (fd, random) => {
            for (let i = 0; i < 1000; i++) {
              const page = Math.floor(spread(i, 1000, run) / 4096);
              fs.writeSync(fd, randomBytes(random, 4096), 0, 4096, page * 4096);
            }
          }),
      },
      {
        name: '1% in scattered edits of 100 B',
        bars: { bytesRatio: 0.05 },
        change: source =>
          edit(source, (fd, random) => {
            for (let i = 0; i < size / 10_000; i++) {
              const at = randomInteger(random, size - 100);
              fs.writeSync(fd, randomBytes(random, 100), 0, 100, at);
            }
          }),
      },
      {
        name: 'rename of the file',
        bars: { bytes: 600, seconds: 0.3 },
        change: rename,
        undo: source => {
          if (!fs.existsSync(pathIn(source))) rename(source);
        },
      },
      {
        name: 'copy of the file',
        bars: { bytes: size * 0.003, secondsRatio: 0.7 },
        change: source => {
          fs.copyFileSync(pathIn(source), join(source, 'copy'));
          age(join(source, 'copy'));
          age(source);
        },
        undo: source => {
          fs.rmSync(join(source, 'copy'));
          age(source);
        },
      },
    ],
  };
}

/** Renames of a directory with `count` files below it. */
export function directoryGroup(count: number): Group {
  return {
    name: `directory of ${count} files`,
    make: source => {
      fs.mkdirSync(join(source, 'tree'));
      makeSmallFiles(join(source, 'tree'), count, 50);
      age(source);
      return undefined;
    },
    rows: [
      {
        name: `rename of a directory of ${count} files`,
        bars: { bytes: 4000 },
        change: (source, run) => {
          const [from, to] = run % 2 === 0 ? ['tree', 'moved'] : ['moved', 'tree'];
          fs.renameSync(join(source, from), join(source, to));
          age(source);
        },
      },
    ],
  };
}

export function duplicateGroup(count: number): Group {
  return {
    name: `${count} small files`,
    make: source => {
      fs.mkdirSync(join(source, 'tree'));
      makeSmallFiles(join(source, 'tree'), count, 50);
      age(source);
      return undefined;
    },
    rows: [
      {
        name: `duplicate of a tree of ${count} files`,
        // 2 to 4 KiB each.
        bars: { bytes: 0.15 * count * 3072 },
        change: source => {
          const options = { recursive: true, preserveTimestamps: true };
          fs.cpSync(join(source, 'tree'), join(source, 'copy'), options);
          // cpSync leaves directories with times of now, finer than what a replica promises.
          for (const name of fs.readdirSync(join(source, 'copy'), {
            recursive: true,
            encoding: 'utf8',
          })) {
            const path = join(source, 'copy', name);
            if (fs.lstatSync(path).isDirectory()) age(path);
          }
          age(join(source, 'copy'));
          age(source);
        },
        undo: source => {
          fs.rmSync(join(source, 'copy'), { recursive: true });
          age(source);
        },
      },
    ],
  };
}

export function sourcesGroup(count: number): Group {
  const pathOf = (source: string, i: number) => join(source, `file${i}.js`);
  const lineOf = (random: () => number): string => {
    const [value, argument] = [randomInteger(random, 1000), randomInteger(random, 1e6)];
    return `  const value${value} = await compute(${argument}, options); // see value${argument % 89}`;
  };
  return {
    name: `${count} source files`,
    compresses: true,
    make: source => {
      const random = seededRandom(5);
      for (let i = 0; i < count; i++) {
        const lines = Array.from({ length: 50 + randomInteger(random, 200) }, () => lineOf(random));
        fs.writeFileSync(pathOf(source, i), lines.join('\n'));
        age(pathOf(source, i));
      }
      age(source);
      return undefined;
    },
    rows: [
      {
        name: `a line in each of ${count} source files`,
        bars: { bytesRatio: 0.3 },
        change: (source, run) => {
          const random = seededRandom(1000 + run);
          for (let i = 0; i < count; i++) {
            const lines = fs.readFileSync(pathOf(source, i), 'latin1').split('\n');
            lines[randomInteger(random, lines.length)] = lineOf(random);
            fs.writeFileSync(pathOf(source, i), lines.join('\n'));
            age(pathOf(source, i));
          }
        },
      },
    ],
  };
}

export function logsGroup(): Group {
  const names = Array.from({ length: 10 }, (_, i) => `log${i}`);
  return {
    name: 'ten logs of 8 MiB',
    make: source => {
      const random = seededRandom(3);
      for (const name of names) {
        fs.writeFileSync(join(source, name), linesOf(random, 8 * mebibyte));
        age(join(source, name));
      }
      age(source);
      return undefined;
    },
    rows: [
      {
        name: '4 KiB of lines to each of ten logs',
        bars: {},
        change: source => {
          const random = seededRandom(changeCount);
          for (const name of names) {
            fs.appendFileSync(join(source, name), linesOf(random, 4096));
            age(join(source, name));
          }
        },
      },
    ],
  };
}

export function sqliteGroup(): Group {
  const run = (source: string, script: string) =>
    spawnSync('python3', ['-c', script, join(source, 'data.db')], { encoding: 'utf8' });
  return {
    name: 'SQLite file of 256 MiB',
    make: source => {
      const { status } = run(source, makeDatabase);
      if (status !== 0) return 'python3 with sqlite3 is not here';
      age(join(source, 'data.db'));
      age(source);
      return undefined;
    },
    rows: [
      {
        name: '1,000 random UPDATEs in SQLite',
        bars: {},
        change: (source, number) => {
          const { status, stderr } = run(source, updateDatabase(number));
          if (status !== 0) throw new Error(stderr);
          age(join(source, 'data.db'));
          age(source); // The journal came and went.
        },
      },
    ],
  };
}

const makeDatabase = `
import random, sqlite3, sys
random.seed(4)
db = sqlite3.connect(sys.argv[1])
db.execute('pragma page_size = 4096')
db.execute('create table t (id integer primary key, body blob)')
db.executemany('insert into t values (?, ?)', ((i, random.randbytes(950)) for i in range(256 * 1024)))
db.commit()
`;

function updateDatabase(seed: number): string {
  return `
import random, sqlite3, sys
random.seed(${100 + seed})
db = sqlite3.connect(sys.argv[1])
for _ in range(1000):
    row = (random.randbytes(950), random.randrange(256 * 1024))
    db.execute('update t set body = ? where id = ?', row)
db.commit()
`;
}

function linesOf(random: () => number, size: number): string {
  let text = '';
  for (let i = 0; text.length < size; i++) {
    const id = randomBytes(random, 12).toString('hex');
    text += `2026-01-01T00:00:00.${i % 1000}Z info request ${id} served in ${randomInteger(random, 900)} ms\n`;
  }
  return text.slice(0, size);
}

/** Moves what follows `offset` up, from the end. */
function insert(fd: number, offset: number, bytes: Buffer): void {
  const part = Buffer.allocUnsafe(8 * mebibyte);
  let end = fs.fstatSync(fd).size;
  while (end > offset) {
    const start = Math.max(end - part.length, offset);
    fs.readSync(fd, part, 0, end - start, start);
    fs.writeSync(fd, part, 0, end - start, start + bytes.length);
    end = start;
  }
  fs.writeSync(fd, bytes, 0, bytes.length, offset);
}
