// A rename is one operation and sends no content, however much is below it. What comes back, or is
// moved by copy and delete, is found by its blocks.
import fs from 'node:fs';
import { makeDiskFolder } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { LocalPasses, ways } from '../support/local-pass.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

/** In place of t.test. */
const each = inTurn(ways);

const random = seededRandom(11);
const files = 40;

function makeFolder(path: string, count = files): void {
  fs.mkdirSync(path);
  for (let i = 0; i < count; i++) fs.writeFileSync(`${path}/${i}`, randomBytes(random, 20_000));
}

interface Story {
  readonly name: string;
  readonly act: (at: (...path: string[]) => string) => void;
  readonly bytesMax: number;
  /** Renames, and the attributes of the directories around them. */
  readonly operationsMax: number;
}

const stories: readonly Story[] = [
  {
    name: 'a directory renamed',
    act: at => fs.renameSync(at('one'), at('uno')),
    bytesMax: 0,
    operationsMax: 3,
  },
  {
    name: 'a directory moved into another',
    act: at => fs.renameSync(at('one'), at('two', 'one')),
    bytesMax: 0,
    operationsMax: 4,
  },
  {
    name: 'two directories swapped',
    act: at => {
      fs.renameSync(at('one'), at('~'));
      fs.renameSync(at('two'), at('one'));
      fs.renameSync(at('~'), at('two'));
    },
    bytesMax: 0,
    operationsMax: 5,
  },
  {
    name: 'three files in a cycle',
    act: at => {
      fs.renameSync(at('one', '1'), at('~'));
      fs.renameSync(at('one', '2'), at('one', '1'));
      fs.renameSync(at('two', '3'), at('one', '2'));
      fs.renameSync(at('~'), at('two', '3'));
    },
    bytesMax: 0,
    operationsMax: 8,
  },
  {
    // The directory at the old name counts as the old one: what was in it is renamed one by one.
    name: 'a directory renamed and an empty one made in its place',
    act: at => {
      fs.renameSync(at('one'), at('uno'));
      fs.mkdirSync(at('one'));
    },
    bytesMax: 0,
    operationsMax: files + 4,
  },
  {
    name: 'a directory renamed, and a file in it edited and renamed',
    act: at => {
      fs.renameSync(at('one'), at('uno'));
      fs.appendFileSync(at('uno', '7'), 'more');
      fs.renameSync(at('uno', '7'), at('uno', 'seven'));
    },
    bytesMax: 70_000,
    operationsMax: 6,
  },
  {
    name: 'a file renamed over another',
    act: at => fs.renameSync(at('one', '1'), at('two', '1')),
    bytesMax: 0,
    operationsMax: 5,
  },
  {
    name: 'a parent and its child change places',
    act: at => {
      fs.mkdirSync(at('two', 'inner'));
      fs.writeFileSync(at('two', 'inner', 'x'), 'x');
      fs.renameSync(at('two', 'inner'), at('inner'));
      fs.renameSync(at('two'), at('inner', 'two'));
      fs.renameSync(at('inner'), at('two'));
    },
    bytesMax: 10,
    operationsMax: files + 8,
  },
];

each('renames, each in a folder of its own', async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  for (const { name } of stories) {
    fs.mkdirSync(passes.at(name));
    makeFolder(passes.at(name, 'one'));
    makeFolder(passes.at(name, 'two'));
  }
  t.equal((await passes.pass()).code, 0);
  for (const { name, act, bytesMax, operationsMax } of stories) {
    await t.test(name, async t => {
      act((...path) => passes.at(name, ...path));
      const { code, operations, bytesSent } = await passes.pass();
      t.equal(code, 0);
      t.strictSame(passes.differences(), []);
      t.ok(bytesSent <= bytesMax, `${bytesSent} bytes sent`);
      t.ok(operations <= operationsMax, `${operations} operations`);
    });
  }
});

type At = (...path: string[]) => string;

interface Step {
  readonly name: string;
  readonly act: (at: At, outside: At) => void;
  readonly bytesMin?: number;
  readonly bytesMax: number;
}

/** The end of a file that grew, as a block; the file's other blocks are 40 times as much. */
const edit = 65_536 + 10;

/** Blocks under 256 bytes are not in the receiver's index; a file has one at most. */
const crumbs = (files: number): number => files * 255;

/** One after the other in one tree, where `hidden` is ignored. */
const steps: readonly Step[] = [
  {
    name: 'files and directories leave, for what is ignored and for good',
    act: (at, outside) => {
      fs.renameSync(at('one', '1'), at('hidden', '1'));
      fs.renameSync(at('few'), at('hidden', 'few'));
      fs.renameSync(at('one', '2'), outside('2'));
      fs.renameSync(at('some'), outside('some'));
    },
    bytesMax: 0,
  },
  {
    name: 'they come back in other places: kept content is a source of blocks',
    act: (at, outside) => {
      fs.renameSync(at('hidden', '1'), at('one', 'back'));
      fs.renameSync(at('hidden', 'few'), at('one', 'few'));
      fs.renameSync(outside('2'), at('2'));
      fs.renameSync(outside('some'), at('one', 'few', 'some'));
    },
    bytesMax: crumbs(8),
  },
  {
    name: 'what was ignored from the start moves over a file: it is new, and sent once',
    act: at => fs.renameSync(at('hidden', 'secret'), at('one', '3')),
    bytesMin: 20_000,
    bytesMax: 20_000,
  },
  {
    name: 'a file is renamed and edited',
    act: at => {
      fs.renameSync(at('large'), at('one', 'large'));
      fs.appendFileSync(at('one', 'large'), 'more');
    },
    bytesMin: 4,
    bytesMax: edit,
  },
  {
    name: 'a file is edited and renamed over another',
    act: at => {
      fs.appendFileSync(at('one', 'large'), 'more');
      fs.renameSync(at('one', 'large'), at('other'));
    },
    bytesMin: 4,
    bytesMax: edit,
  },
  {
    name: 'two files change places, and one is edited',
    act: at => {
      fs.renameSync(at('other'), at('~'));
      fs.renameSync(at('one', '4'), at('other'));
      fs.renameSync(at('~'), at('one', '4'));
      fs.appendFileSync(at('one', '4'), 'more');
    },
    bytesMin: 4,
    bytesMax: edit,
  },
  {
    name: 'a file and a directory are copied, and the originals deleted',
    act: at => {
      fs.copyFileSync(at('one', '4'), at('4'));
      fs.rmSync(at('one', '4'));
      fs.cpSync(at('one', 'few'), at('copy'), { recursive: true });
      fs.rmSync(at('one', 'few'), { recursive: true });
    },
    bytesMax: crumbs(7),
  },
  {
    name: 'a checkout: files are written anew beside the old ones, then renamed over others',
    act: at => {
      for (const [from, to] of [
        ['5', '6'],
        ['6', '5'],
      ] as const) {
        fs.copyFileSync(at('one', from), at('one', `${to}.new`));
      }
      for (const to of ['5', '6']) fs.renameSync(at('one', `${to}.new`), at('one', to));
    },
    bytesMax: 0,
  },
];

each('what the replica has is not sent again, wherever it went meanwhile', async (t, way) => {
  const folder = makeDiskFolder(t);
  const passes = new LocalPasses(folder, way);
  const at: At = (...path) => passes.at(...path);
  const outside: At = (...path) => [folder, 'outside', ...path].join('/');
  fs.mkdirSync(outside());
  makeFolder(at('one'));
  makeFolder(at('few'), 3);
  makeFolder(at('some'), 3);
  fs.mkdirSync(at('hidden'));
  fs.writeFileSync(at('hidden', 'secret'), randomBytes(random, 20_000));
  fs.writeFileSync(at('large'), randomBytes(random, 2_500_000));
  fs.writeFileSync(at('other'), randomBytes(random, 20_000));
  fs.writeFileSync(at('.replicaignore'), '/hidden\n');
  t.equal((await passes.pass()).code, 0);
  for (const { name, act, bytesMin = 0, bytesMax } of steps) {
    act(at, outside);
    const { code, bytesSent } = await passes.pass();
    t.equal(code, 0, name);
    const isHidden = (line: string): boolean => /\bhidden\b/.test(line);
    t.strictSame(
      passes.differences().filter(line => !isHidden(line)),
      [],
    );
    t.notOk(passes.there().includes('hidden'), name);
    t.ok(bytesSent >= bytesMin && bytesSent <= bytesMax, `${name}: ${bytesSent} bytes sent`);
  }
});
