// The state of a sender as a SIGKILL would leave it: a copy of its files while it runs.
import fs from 'node:fs';
import { join } from 'node:path';

/** Tries until no transaction ended meanwhile: LMDB never writes to pages of the last one. */
export function copyState(from: string, to: string): void {
  for (;;) {
    const before = transactionOf(from);
    fs.rmSync(to, { recursive: true, force: true });
    fs.mkdirSync(to, { recursive: true });
    for (const name of fs.readdirSync(from)) {
      if (name === 'lock.mdb') continue;
      fs.cpSync(join(from, name), join(to, name), { recursive: true });
    }
    if (before === transactionOf(from)) return;
  }
}

/** The number of the newest transaction (src/store/database.ts has the layout). */
function transactionOf(folder: string): bigint {
  const head = Buffer.alloc(160);
  const fd = fs.openSync(join(folder, 'data.mdb'), 'r');
  try {
    fs.readSync(fd, head, 0, head.length, 0);
    const first = head.readBigUInt64LE(152);
    fs.readSync(fd, head, 0, head.length, head.readUInt32LE(48));
    const second = head.readBigUInt64LE(152);
    return first > second ? first : second;
  } finally {
    fs.closeSync(fd);
  }
}
