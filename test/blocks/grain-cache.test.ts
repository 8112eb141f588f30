import t from 'tap';
import { GrainCache } from '../../src/blocks/grain-cache.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

const chunkSize = 1024 * 1024;

t.test('large entries fill chunks to the brim, and the oldest chunk is forgotten', async t => {
  const random = seededRandom(1);
  const cache = new GrainCache(2 * chunkSize);
  // Three and a half of them in a chunk.
  const entries = Array.from({ length: 12 }, () => ({
    id: randomBytes(random, 16),
    hashes: randomBytes(random, 4 * 0xffff),
  }));
  for (const { id, hashes } of entries) {
    cache.put(id, { size: 64, hashes });
    t.ok(cache.byteCount <= 2 * chunkSize, `${cache.byteCount} bytes`);
  }
  const there = entries.filter(({ id }) => cache.has(id));
  t.strictSame(there, entries.slice(-6), 'the newest six');
  for (const { id, hashes } of there) {
    const found = cache.get(id);
    t.equal(found?.size, 64);
    t.ok(found?.hashes.equals(hashes), 'as they were put');
  }
});
