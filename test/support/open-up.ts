// Makes a tree removable again: read-only directories in it stop whoever is not root.
import fs from 'node:fs';
import { join } from 'node:path';

export function openUp(path: string): void {
  const stats = fs.lstatSync(Buffer.from(path, 'latin1'), { throwIfNoEntry: false });
  if (!stats?.isDirectory()) return;
  fs.chmodSync(Buffer.from(path, 'latin1'), 0o700);
  for (const name of fs.readdirSync(Buffer.from(path, 'latin1'), 'latin1')) {
    openUp(join(path, name));
  }
}
