// A rename is one operation and sends no content, however much is below it.
import fs from 'node:fs';
import t from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { LocalPasses } from '../support/local-pass.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

const random = seededRandom(11);
const files = 40;

function makeFolder(path: string): void {
  fs.mkdirSync(path);
  for (let i = 0; i < files; i++) fs.writeFileSync(`${path}/${i}`, randomBytes(random, 20_000));
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

for (const { name, act, bytesMax, operationsMax } of stories) {
  t.test(name, async t => {
    const passes = new LocalPasses(makeDiskFolder(t));
    makeFolder(passes.at('one'));
    makeFolder(passes.at('two'));
    t.equal((await passes.pass()).code, 0);
    act((...path) => passes.at(...path));
    const { code, operations, bytesSent } = await passes.pass();
    t.equal(code, 0);
    t.strictSame(passes.differences(), []);
    t.ok(bytesSent <= bytesMax, `${bytesSent} bytes sent`);
    t.ok(operations <= operationsMax, `${operations} operations`);
  });
}
