import t from 'tap';
import { GrowingBuffer } from '../../src/blocks/growing-buffer.ts';
import { noise } from '../support/content.ts';
import { randomInteger, seededRandom } from '../support/random.ts';

t.test('gives what was appended, whatever the sizes', t => {
  const buffer = new GrowingBuffer();
  const taken: { actual: Buffer; expected: Buffer }[] = [];
  for (let seed = 1; seed <= 100; seed++) {
    const random = seededRandom(seed);
    const parts: Buffer[] = [];
    for (let count = randomInteger(random, 30); count > 0; count--) {
      const part = noise(count, randomInteger(random, seed % 10 === 0 ? 30_000 : 200));
      const number = Buffer.alloc(2);
      number.writeUInt16BE(part.length);
      buffer.appendUInt16BE(part.length);
      buffer.append(part);
      parts.push(number, part);
    }
    const expected = Buffer.concat(parts);
    if (buffer.size !== expected.length) t.fail(`size, seed ${seed}`);
    if (seed % 3 === 0) buffer.clear();
    else taken.push({ actual: buffer.take(), expected });
  }
  // Only now: what was taken must not change while more is appended.
  t.ok(taken.every(({ actual, expected }) => actual.equals(expected)));
  t.equal(buffer.take().length, 0);
  t.end();
});
