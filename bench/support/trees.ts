// Trees for benches: seeded, with whole-microsecond times in the past, so that rsync's quick check
// and its nanosecond comparison both tell the truth.
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { randomBytes, seededRandom } from '../../test/support/random.ts';

const pastSeconds = 1_600_000_000;

/** `count` files of 2 to 4 KiB of noise, `perFolder` in each directory, two levels deep. */
export function makeSmallFiles(root: string, count: number, perFolder: number): void {
  const random = seededRandom(1);
  const noise = randomBytes(random, 4096);
  const folders = new Set<string>();
  for (let i = 0; i < count; i++) {
    const number = Math.floor(i / perFolder);
    const folder = join(root, `d${number % 45}`, `s${number}`);
    if (!folders.has(folder)) fs.mkdirSync(folder, { recursive: true });
    folders.add(folder);
    noise.writeUInt32LE(i, 0);
    noise.writeUInt32LE(i * 31, 1024);
    const path = join(folder, `file${i % perFolder}.dat`);
    fs.writeFileSync(path, noise.subarray(0, 2048 + Math.floor(random() * 2048)));
    fs.utimesSync(path, pastSeconds, pastSeconds + (i % 1000));
  }
  for (const folder of folders) fs.utimesSync(folder, pastSeconds, pastSeconds);
  for (const name of fs.readdirSync(root))
    fs.utimesSync(join(root, name), pastSeconds, pastSeconds);
  fs.utimesSync(root, pastSeconds, pastSeconds);
}

/** One incompressible file. */
export function makeLargeFile(path: string, size: number): void {
  const random = seededRandom(2);
  const fd = fs.openSync(path, 'w');
  const part = randomBytes(random, 8 * 1024 * 1024);
  for (let at = 0; at < size; at += part.length) {
    // A cheap change all over the part: no two 4 KiB pages of the file are the same.
    for (let i = 0; i < part.length; i += 512) part.writeUInt32LE((at + i) >>> 0, i);
    fs.writeSync(fd, part, 0, Math.min(part.length, size - at));
  }
  fs.closeSync(fd);
  fs.utimesSync(path, pastSeconds, pastSeconds);
  fs.utimesSync(dirname(path), pastSeconds, pastSeconds);
}
