import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cutToMicroseconds, fileTime, libuvCuts } from '../../src/tree/times.ts';
import { onEachFileSystem } from '../support/folders.ts';
import { randomInteger, seededRandom } from '../support/random.ts';

t.test('cuts downwards on both sides of 1970', async t => {
  t.equal(cutToMicroseconds(1_999n), 1_000n);
  t.equal(cutToMicroseconds(0n), 0n);
  t.equal(cutToMicroseconds(-1n), -1_000n);
  t.equal(cutToMicroseconds(-1_000n), -1_000n);
  t.equal(cutToMicroseconds(-1_001n), -2_000n);
});

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

/** uv__fs_to_timespec of libuv 1.46 (cuts) and 1.52. */
function toNs(seconds: number, cuts: boolean): bigint {
  const whole = Math.trunc(seconds);
  let ns = Math.trunc((seconds - whole) * 1e9);
  if (cuts) ns -= ns % 1000;
  return BigInt(whole) * 1_000_000_000n + BigInt(ns);
}

for (const cuts of [true, false]) {
  t.test(`the microsecond is right in a libuv that ${cuts ? 'cuts' : 'does not cut'}`, async t => {
    const spare = cuts ? 0n : 500n;
    const wrong = times.filter(timeNs => {
      const ns = toNs(Number(fileTime(timeNs, cuts)), cuts);
      const wanted = cutToMicroseconds(timeNs);
      return ns < wanted || ns > wanted + spare;
    });
    t.same(wrong, []);
  });
}

t.test('knows which libuv cuts', async t => {
  for (const version of ['1.46.0', '1.51.0', '0.99.0']) t.equal(libuvCuts(version), true);
  for (const version of ['1.52.0', '1.52.1', '1.100.0', '2.0.0'])
    t.equal(libuvCuts(version), false);
});

onEachFileSystem(t, 'a file is left within the microsecond', async (t, folder) => {
  const path = join(folder, 'f');
  fs.writeFileSync(path, '');
  const spare = libuvCuts() ? 0n : 500n;
  const wrong = times.filter(timeNs => {
    fs.lutimesSync(path, 0, fileTime(timeNs));
    const found = fs.lstatSync(path, { bigint: true }).mtimeNs;
    const wanted = cutToMicroseconds(timeNs);
    return found < wanted || found > wanted + spare;
  });
  t.same(wrong, []);
});
