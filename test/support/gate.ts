// A gate for threads that run slow-source-worker.ts.
import fs from 'node:fs';

/** Calls at paths that begin so go on only when eight threads are in one together; how many were. */
export function makeGate(root: string, prefix: string): () => number {
  fs.mkdirSync(`${root}.gate`);
  fs.symlinkSync(prefix, `${root}.gate/prefix`);
  return () => fs.readdirSync(`${root}.gate`).length - 2;
}
