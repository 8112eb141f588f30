// A virtual machine gives freed memory back to its host within seconds, and taking it again costs
// more than filling it. So whoever runs first pays for whoever runs next, unless it is taken before.
import fs from 'node:fs';
import { join } from 'node:path';

const partSize = 8 * 1024 * 1024;

const tmpfsType = 0x01021994;

/** Fills as much of the file system that holds `folder` and frees it, if that is tmpfs. */
export function touchMemory(folder: string, byteCount: number): void {
  if (fs.statfsSync(folder).type !== tmpfsType) return;
  const path = join(folder, 'touched-memory');
  const fd = fs.openSync(path, 'w');
  const part = Buffer.alloc(partSize, 1);
  for (let at = 0; at < byteCount; at += partSize) fs.writeSync(fd, part);
  fs.closeSync(fd);
  fs.rmSync(path);
}
