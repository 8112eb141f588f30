#!/usr/bin/env node
// The process around runCli: its streams, signals and end. Everything else is in runCli.
import { homedir, hostname } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemCode } from '../errors.ts';
import { HeapRest } from '../heap-rest.ts';
import { ExitCode } from './exit-code.ts';
import { nodeTooOld } from './version.ts';

const tooOld = nodeTooOld(process.version);
if (tooOld !== undefined) {
  process.stderr.write(`replica: ${tooOld}\n`);
  process.exit(ExitCode.Usage);
}
// There its parts cannot even be loaded.
const { runCli } = await import('./cli.ts');

// A heap may double before it is tidied up, instead of growing to four times what is alive: a first copy
// of 100,000 files takes 3% longer and 200 MiB instead of 270.
setFlagsFromString('--heap-growing-percent=100');
setFlagsFromString('--expose-gc');
/** The engine's own; new contexts have it once the flag is set. */
const collect: (options?: { type: 'minor' }) => void = runInNewContext('gc');
const heapRest = new HeapRest({ collect: () => collect() });

/** After the command ended, file system calls under way may take this long. */
const exitMsMax = 2000;
/** Timers and idle sockets are not waited for: nothing of worth hangs on them. */
const exitCheckMs = 100;

/** timeout(1) tells its child, and then its group: the same signal twice is one wish, for so long. */
const sameWishMs = 100;

const stop = new AbortController();
let stoppedAtMs = 0;
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    const nowMs = performance.now();
    if (stop.signal.aborted && nowMs - stoppedAtMs < sameWishMs) return;
    // The second one wants out at once. process.exit would wait for a hung file system call in a
    // worker thread, and a crash at any instant is safe anyway.
    if (stop.signal.aborted) process.kill(process.pid, 'SIGKILL');
    stoppedAtMs = nowMs;
    stop.abort();
  });
}
// `replica up` started this process, and is gone.
process.once('disconnect', () => stop.abort());
// A full disk below it, or a terminal that is gone, must not end replication: --log-file has all lines.
process.stderr.on('error', () => {});
let isOutputLost = false;
process.stdout.on('error', error => {
  const code = systemCode(error) ?? error.message;
  // The reader of a pipe went away (`| head`): nobody is left to tell.
  if (isOutputLost || code === 'EPIPE') return;
  isOutputLost = true;
  process.exitCode ||= ExitCode.Io;
  process.stderr.write(`replica: cannot write to standard output (${code})\n`);
});

let isThreadHung = false;

const exitCode = await runCli(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  colorDepth: process.stderr.isTTY ? process.stderr.getColorDepth() : 1,
  cwd: process.cwd(),
  home: homedir(),
  hostname: hostname(),
  uid: process.geteuid?.(),
  signal: stop.signal,
  sweepYoung: () => collect({ type: 'minor' }),
  onHungThread: () => {
    isThreadHung = true;
  },
  onHangup: handler => {
    process.on('SIGHUP', handler);
    return () => void process.off('SIGHUP', handler);
  },
});

heapRest.close();
process.exitCode = exitCode === ExitCode.Done && isOutputLost ? ExitCode.Io : exitCode;

// Everything is closed and durable by now. A thread that hangs in a system call would keep the
// process for ever, in process.exit too, which joins it: the kernel ends it, as the last resort.
if (isThreadHung) process.kill(process.pid, 'SIGKILL');
const endedAt = performance.now();
setInterval(() => {
  const isCalling = process.getActiveResourcesInfo().some(name => name.startsWith('FSReq'));
  if (!isCalling) process.exit();
  if (performance.now() - endedAt > exitMsMax) process.kill(process.pid, 'SIGKILL');
}, exitCheckMs).unref();
