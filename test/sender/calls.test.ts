import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { WorkerCalls } from '../../src/sender/calls.ts';

const waitMs = 20;

t.test('a thread that is still loading as it is closed does not count as hung', async t => {
  const worker = new Worker('for (;;);', { eval: true });
  t.equal(await new WorkerCalls(worker).close(), true);
});

t.test('a thread in a system call that does not end is left behind', async t => {
  const pipe = join(t.testdir(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const code = `require('worker_threads').parentPort.postMessage('calling');
    require('fs').openSync(${JSON.stringify(pipe)});`;
  const worker = new Worker(code, { eval: true });
  await once(worker, 'message');
  const ended = once(worker, 'exit');
  t.equal(await new WorkerCalls(worker).close(waitMs), false);
  fs.closeSync(fs.openSync(pipe, 'w'));
  await ended;
});
