import t from 'tap';
import { applyPatch, type Copy, encodePatch } from '../../src/blocks/block-patch.ts';
import { noise } from '../support/content.ts';
import { randomInteger, seededRandom } from '../support/random.ts';

const old = noise(1, 10_000);
const readOld = (from: number, into: Buffer) => void old.copy(into, 0, from, from + into.length);

t.test('golden bytes', async t => {
  const block = Buffer.from('aaaaaBBBBBcccDDDDD');
  const copies = [
    { at: 5, from: 300, size: 5 },
    { at: 13, from: 300, size: 5 },
  ];
  t.equal(
    encodePatch(block, copies).toString('hex'),
    '05 6161616161 05 d804 03 636363 05 09'.replaceAll(' ', ''),
  );
  t.equal(encodePatch(Buffer.from('ab'), []).toString('hex'), '026162');
  t.equal(
    encodePatch(Buffer.from('ab'), [{ at: 0, from: 2 ** 40, size: 1 }]).toString('hex'),
    '00 01 808080808040 01 62'.replaceAll(' ', ''),
  );
});

t.test('what was encoded is applied', async t => {
  for (let seed = 1; seed <= 500; seed++) {
    const random = seededRandom(seed);
    const block = Buffer.from(noise(seed, 1 + randomInteger(random, 500)));
    const copies: Copy[] = [];
    for (let at = randomInteger(random, 50); at < block.length; ) {
      const size = 1 + randomInteger(random, block.length - at);
      const from = randomInteger(random, old.length - size);
      old.copy(block, at, from, from + size);
      copies.push({ at, from, size });
      at += size + randomInteger(random, 50);
    }
    const result = applyPatch(encodePatch(block, copies), block.length, readOld);
    if (!result.equals(block)) t.fail(`seed ${seed}`);
  }
});

t.test('a patch that is none is refused', async t => {
  const rows: [string, string, RegExp][] = [
    ['nothing', '', /ends within a number/],
    ['more bytes than the block', '0b', /inserts more/],
    ['bytes that are not there', '0561', /ends within its bytes/],
    ['a copy of nothing', '00 00', /copies more/],
    ['a copy beyond the block', '00 0b', /copies more/],
    ['a copy from before the file', '00 0a 01', /outside/],
    ['a copy from behind any file', '00 0a feffffffffffff1f', /outside/],
    ['a number of nine bytes', '8080808080808080 01', /number/],
    ['a number that never ends', 'ff'.repeat(20), /number/],
    ['bytes behind the end', '00 0a 00 00', /goes on/],
  ];
  for (const [what, hex, message] of rows) {
    const patch = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    t.throws(() => applyPatch(patch, 10, readOld), { code: 'ERR_PROTOCOL', message }, what);
  }
});
