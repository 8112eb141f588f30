import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cutToMicroseconds, fileTime } from '../../src/tree/times.ts';
import { onEachFileSystem } from '../support/folders.ts';
import { randomInteger, seededRandom } from '../support/random.ts';

t.test('cuts downwards on both sides of 1970', async t => {
  t.equal(cutToMicroseconds(1_999n), 1_000n);
  t.equal(cutToMicroseconds(0n), 0n);
  t.equal(cutToMicroseconds(-1n), -1_000n);
  t.equal(cutToMicroseconds(-1_000n), -1_000n);
  t.equal(cutToMicroseconds(-1_001n), -2_000n);
});

onEachFileSystem(t, 'a file is left with exactly the microsecond', async (t, folder) => {
  const path = join(folder, 'f');
  fs.writeFileSync(path, '');
  const seed = 20_260_101;
  t.comment(`seed ${seed}`);
  const random = seededRandom(seed);
  const times = [0n, 1n, 999n, 1_000n, -1n, -999n, -1_000n, -1_001n, -1_000_000_000n];
  // 1901, the oldest that ext4 holds, to 2100.
  const [oldest, newest] = [-2_147_483_648, 4_102_444_800];
  for (let count = 0; count < 3000; count++) {
    const seconds = oldest + randomInteger(random, newest - oldest);
    times.push(BigInt(seconds) * 1_000_000_000n + BigInt(randomInteger(random, 1_000_000_000)));
  }
  const wrong = times.filter(timeNs => {
    fs.lutimesSync(path, 0, fileTime(timeNs));
    return fs.lstatSync(path, { bigint: true }).mtimeNs !== cutToMicroseconds(timeNs);
  });
  t.same(wrong, []);
});
