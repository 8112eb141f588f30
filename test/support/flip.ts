// A hostile neighbour: swaps directories and files below <dst> for links to <outside> and back,
// as fast as it can, until its parent disconnects. Run as a process of its own.
import fs from 'node:fs';
import { join } from 'node:path';

const [target = '', outside = ''] = process.argv.slice(2);
const victims = [
  ['p', outside],
  ['p/sub', join(outside, 'sub')],
  ['p/leaf', join(outside, 'leaf')],
  ['p/sub/leaf', join(outside, 'sub', 'leaf')],
] as const;

let flipCount = 0;

function flip(path: string, to: string): void {
  const inPlace = join(target, path);
  const aside = join(target, `aside-${path.replace('/', '-')}`);
  // Any of these may lose against the operations of the test.
  for (const step of [
    () => fs.renameSync(inPlace, aside),
    () => fs.symlinkSync(to, inPlace),
    () => fs.unlinkSync(inPlace),
    () => fs.renameSync(aside, inPlace),
  ]) {
    try {
      step();
    } catch {}
  }
  flipCount++;
}

function run(): void {
  for (let count = 0; count < 50; count++) {
    const [path, to] = victims[count % victims.length] ?? victims[0];
    flip(path, to);
  }
  // So that a message and a disconnection are noticed.
  setImmediate(run);
}

process.on('message', () => process.send?.(flipCount));
process.on('disconnect', () => process.exit(0));
run();
process.send?.('running');
