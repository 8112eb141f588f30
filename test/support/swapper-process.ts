// An attacker: swaps a directory of the destination for a link to elsewhere and back, as fast as
// it can, until told to stop; then puts it right again.
//   arguments: the folder, the name in it, the path elsewhere
import fs from 'node:fs';
import { join } from 'node:path';

const [, , folder = '', name = '', elsewhere = ''] = process.argv;
const path = join(folder, name);
const aside = join(folder, `${name}.aside`);
let swaps = 0;
let isStopping = false;

function attempt(act: () => void): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}

function swap(): void {
  if (!attempt(() => fs.renameSync(path, aside))) return;
  if (attempt(() => fs.symlinkSync(elsewhere, path))) swaps++;
  const until = performance.now() + Math.random() * 2;
  while (performance.now() < until);
  restore();
}

/** The receiver may have put a directory of its own there meanwhile. */
function restore(): void {
  if (fs.lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) {
    attempt(() => fs.unlinkSync(path));
  }
  if (!attempt(() => fs.renameSync(aside, path)))
    fs.rmSync(aside, { recursive: true, force: true });
}

function round(): void {
  if (isStopping) {
    restore();
    process.send?.({ swaps }, () => process.exit(0));
    return;
  }
  swap();
  setImmediate(round);
}

process.on('message', () => {
  isStopping = true;
});
process.on('disconnect', () => process.exit(1));
process.send?.('ready');
round();
