// A thread of SourceThreads whose calls wait, as files beside the root say: `<root>.hang` names a
// path at which they hang while it is there; with `<root>.gate` there, calls at paths that begin as it
// says go on only when eight threads are in one at the same time.
import fs from 'node:fs';
import { threadId, workerData } from 'node:worker_threads';
import { type PortData, serveSource } from '../../src/tree/source-thread.ts';

const data = workerData as PortData; // As SourceThreads gives it.
const gate = `${data.root}.gate`;
const hang = `${data.root}.hang`;
const threads = 8;
const cell = new Int32Array(new SharedArrayBuffer(4));

function until(isDone: () => boolean): void {
  while (!isDone()) Atomics.wait(cell, 0, 0, 5);
}

await serveSource(data, path => {
  if (fs.existsSync(hang) && fs.readFileSync(hang, 'latin1') === path) {
    until(() => !fs.existsSync(hang));
  }
  if (!fs.existsSync(gate) || !path.startsWith(fs.readlinkSync(`${gate}/prefix`))) return;
  fs.writeFileSync(`${gate}/${threadId}`, '');
  const isOpen = (): boolean => fs.existsSync(`${gate}/open`);
  until(() => isOpen() || fs.readdirSync(gate).length > threads);
  fs.writeFileSync(`${gate}/open`, '');
});
