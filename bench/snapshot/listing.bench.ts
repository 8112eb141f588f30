// What does it cost to write what a scan sees, to see that nothing changed, and to find what did?
// 'naive' unpacks every record into entries and looks names up in a map.
import { type Difference, diff, sameSeen } from '../../src/snapshot/diff.ts';
import {
  directoriesOf,
  type Known,
  packPage,
  type Seen,
  SeenWriter,
  seenBytes,
  seenOf,
  unpackPage,
} from '../../src/snapshot/listing.ts';
import { toName } from '../../src/snapshot/name.ts';
import { randomEntry } from '../../test/support/messages.ts';
import { seededRandom } from '../../test/support/random.ts';
import { measure } from '../support/measure.ts';

const random = seededRandom(1);
const entryCount = 1000;

function makePage(count: number): Known[] {
  return Array.from({ length: count }, (_, i) => ({
    name: toName(`source-file-${String(i).padStart(4, '0')}.ts`),
    entry: randomEntry(random, 'file'),
    nlink: 1,
  }));
}

function naiveDiff(page: Buffer, seen: readonly Seen[]): number {
  const known = new Map(unpackPage(page).map(one => [one.name, one]));
  let count = 0;
  for (const one of seen) {
    const old = known.get(one.name);
    known.delete(one.name);
    if (old === undefined || old.entry.kind !== one.kind || !sameSeen(old, one)) count++;
  }
  return count + known.size;
}

function countOf(differences: Iterable<Difference>): number {
  let count = 0;
  for (const _ of differences) count++;
  return count;
}

for (const perPage of [10, 50, 1000]) {
  const rounds = entryCount / perPage;
  const known = makePage(perPage);
  const page = packPage(known);
  const seen = known.map(seenOf);
  const changed = seen.map((one, i) => (i === perPage >> 1 ? { ...one, size: one.size + 1 } : one));
  if (countOf(diff(unpackPage(page), changed)) !== 1) throw new Error('diff is wrong');
  if (naiveDiff(page, changed) !== 1) throw new Error('naive diff is wrong');
  const writer = new SeenWriter();
  const write = (): void => {
    writer.reset();
    for (const one of seen) writer.write(one);
  };
  const options = { bytes: page.length * rounds, runs: 31 };
  const content = `${rounds * perPage} entries, ${perPage} a directory`;
  const timed = (name: string, act: () => unknown): void =>
    measure({ name: `listing: ${name}`, content }, options, () => {
      for (let i = 0; i < rounds; i++) act();
    });
  timed('write what is seen', write);
  timed('nothing changed: written and compared as bytes', () => {
    write();
    if (!writer.bytes().equals(seenBytes(page))) throw new Error('differ');
  });
  timed('nothing changed: naive', () => naiveDiff(page, seen));
  timed('one changed: unpacked and merged', () => countOf(diff(unpackPage(page), changed)));
  timed('one changed: naive', () => naiveDiff(page, changed));
  timed('pack', () => packPage(known));
  timed('unpack', () => unpackPage(page));
  timed('directories only', () => directoriesOf(page));
}
