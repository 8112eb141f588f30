// A program in the place of ssh that runs the command on this machine.
import fs from 'node:fs';
import { join } from 'node:path';
import { mainFile } from './run-cli.ts';

/** How an end-to-end story reaches its receiver. */
export type Transport = 'tcp' | 'ssh';
export const transports: readonly Transport[] = ['tcp', 'ssh'];

/** What it does with its arguments. */
export const runIt = 'while [ "$1" != -- ]; do shift; done\nshift 2\nexec sh -c "$*"';

/** Flags of `push` by which ssh:// targets lead through `script` to the built command here. */
export function fakeSsh(folder: string, script = runIt): string[] {
  const rsh = join(folder, 'fake-ssh');
  const replica = join(folder, 'replica');
  writeScript(rsh, script);
  writeScript(replica, `exec '${process.execPath}' '${mainFile}' "$@"`);
  return ['--rsh', rsh, '--replica-path', replica];
}

function writeScript(path: string, text: string): void {
  fs.writeFileSync(path, `#!/bin/sh\n${text}\n`);
  fs.chmodSync(path, 0o755);
}
