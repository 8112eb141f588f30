// A receiver at the other end of `ssh`: `replica receive --stdio` run by the user's own ssh, its
// frames over stdin and stdout. ssh proves who is who and encrypts; no key of ours is needed.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { type ErrorCode, ReplicaError, systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import { Connection } from '../net/connection.ts';
import type { Compression } from '../net/packing.ts';
import { pipeDuplex } from '../net/pipe-duplex.ts';
import type { Throttle } from '../net/throttle.ts';
import { printable } from '../snapshot/name.ts';
import { ExitCode } from './exit-code.ts';
import { stdioBanner } from './ssh-command.ts';

/** What a login shell may print before. */
const noiseSizeMax = 64 * 1024;
/** Lines of stderr kept for the error, and characters of one. */
const linesKept = 20;
const lineSizeMax = 1024;
/** Lines of a receiver that are kept until it is connected. */
const earlyMax = 1000;
/** What the other end is given to end by itself. */
const endMs = 2_000;

export interface SshOptions {
  readonly command: readonly [string, ...string[]];
  readonly peer: string;
  readonly timeoutMs: number;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly compression?: Compression | undefined;
  readonly throttle?: Throttle | undefined;
}

/**
 * Throws ERR_SOCKET when there is no way there, ERR_AUTH when ssh is refused, ERR_TIMEOUT after
 * timeoutMs, and what the receiver there fails with. `signal` also closes the connection later.
 */
export async function dialSsh(options: SshOptions): Promise<Connection> {
  const { command, peer, log, signal } = options;
  const [file, ...args] = command;
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  child.on('error', () => {});
  // Whatever its type says: with no descriptors left for pipes there are none.
  if (!child.stdin) {
    throw new ReplicaError('ERR_SOCKET', `cannot run '${file}': too many files are open`);
  }
  const lines = new ErrorLines(child, peer, log);
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => {});
  try {
    await greeted(child, lines, options);
  } catch (error) {
    endChild(child);
    // Where it is a script, what that started has them as well, and may hang on.
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
    throw error;
  }
  lines.connected();
  const stream = pipeDuplex(child.stdout, child.stdin);
  const { compression, throttle } = options;
  const connection = Connection.over(stream, {
    checksum: true,
    peer,
    signal,
    compression,
    throttle,
  });
  void connection.closed.then(() => {
    child.stdin.destroy();
    const timer = setTimeout(() => endChild(child), endMs).unref();
    child.once('exit', () => clearTimeout(timer));
  });
  return connection;
}

/** What is stopped or hangs does not hear a request to end. */
function endChild(child: ChildProcessWithoutNullStreams): void {
  child.kill();
  const timer = setTimeout(() => child.kill('SIGKILL'), endMs).unref();
  child.once('exit', () => clearTimeout(timer));
}

/** Resolves when the banner came; what follows it is still to be read. */
async function greeted(
  child: ChildProcessWithoutNullStreams,
  lines: ErrorLines,
  { command, peer, timeoutMs, log, signal }: SshOptions,
): Promise<void> {
  const stop = new AbortController();
  const failed = new Promise<never>((_, reject) => {
    const late = setTimeout(() => {
      const message = `no answer from ${peer} within ${timeoutMs / 1000} s`;
      reject(new ReplicaError('ERR_TIMEOUT', message));
    }, timeoutMs);
    const cancel = (): void =>
      reject(new ReplicaError('ERR_SOCKET', `connecting to ${peer} was cancelled`));
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
    child.once('error', error => {
      const why = systemCode(error) === 'ENOENT' ? 'there is no such command' : error.message;
      reject(new ReplicaError('ERR_USAGE', `cannot run '${command[0]}': ${why}; see --rsh`));
    });
    child.once('close', code => reject(failureOf(code, lines.kept, { command, peer })));
    stop.signal.addEventListener('abort', () => {
      clearTimeout(late);
      signal.removeEventListener('abort', cancel);
    });
  });
  failed.catch(() => {});
  try {
    const noise = await Promise.race([afterNoise(child, peer), failed]);
    if (noise === '') return;
    const text = printable(noise.slice(0, 80));
    log.warn(
      { peer },
      `${peer}: the login shell prints '${text}': its profile should print nothing`,
    );
  } finally {
    stop.abort();
  }
}

/** What came before the banner, latin1. */
async function afterNoise(child: ChildProcessWithoutNullStreams, peer: string): Promise<string> {
  let head = '';
  for (;;) {
    const chunk: Buffer | null = child.stdout.read();
    if (chunk === null) {
      await new Promise(resolve => child.stdout.once('readable', resolve));
      continue;
    }
    head += chunk.toString('latin1');
    const at = head.indexOf(stdioBanner);
    if (at >= 0) {
      const rest = Buffer.from(head.slice(at + stdioBanner.length), 'latin1');
      if (rest.length > 0) child.stdout.unshift(rest);
      return head.slice(0, at);
    }
    // A terminal makes two bytes of a line's end, and echoes.
    if (head.includes(stdioBanner.replace('\n', '\r\n'))) {
      const message = `${peer}: ssh gives a terminal, which alters what is sent: no -t, RequestTTY no`;
      throw new ReplicaError('ERR_USAGE', message);
    }
    if (head.length > noiseSizeMax) {
      const start = printable(head.slice(0, 80));
      const message = `${peer}: no receiver answers, but something that prints '${start}…'`;
      throw new ReplicaError('ERR_PROTOCOL', message);
    }
  }
}

/** Why ssh ended before a receiver answered. */
function failureOf(
  code: number | null,
  kept: readonly string[],
  { command, peer }: Pick<SshOptions, 'command' | 'peer'>,
): ReplicaError {
  const said = reasonIn(kept);
  const why = said === '' ? `ended with code ${code}` : said.replace(/^replica: /, '');
  // 1 is what csh ends with.
  if (code === 127 || (code === 1 && /: Command not found\.$/.test(said))) {
    const hint = /\bnode: .*not found$/.test(said)
      ? 'its shell finds no Node.js: see its PATH'
      : 'is replica installed there? --replica-path says where';
    return new ReplicaError('ERR_PATH', `${peer}: ${said || why} (${hint})`);
  }
  if (code === 255 || code === null) {
    const isRefused = /permission denied|host key verification failed/i.test(kept.join('\n'));
    const name = command[0].split('/').at(-1);
    // Most of what it says begins with its name.
    const isNamed = why.startsWith('ssh: ') || why.startsWith(`${name}: `);
    const text = isNamed ? why : `${name}: ${why}`;
    return new ReplicaError(isRefused ? 'ERR_AUTH' : 'ERR_SOCKET', `${peer}: ${text}`);
  }
  return new ReplicaError(codeOf(code, why), `${peer}: ${why}`);
}

/** The last line; where that only shows a place, as those of Node.js and fish do, one before it. */
function reasonIn(lines: readonly string[]): string {
  const last = lines.at(-1) ?? '';
  if (!/^(?:at |Node\.js v|\^)/.test(last)) return last;
  return lines.findLast(line => /^(?:\w*Error(?: \[\w+\])?|fish): ./.test(line)) ?? last;
}

function codeOf(exitCode: number, why: string): ErrorCode {
  // The one of before may not know yet that its connection is gone.
  if (exitCode === ExitCode.Path) return /another receive/.test(why) ? 'ERR_SOCKET' : 'ERR_PATH';
  if (exitCode === ExitCode.Usage) return 'ERR_USAGE';
  return exitCode === ExitCode.Io ? 'ERR_IO' : 'ERR_SOCKET';
}

/** What ssh, the login shell and the receiver say on stderr. */
class ErrorLines {
  readonly kept: string[] = [];
  #isConnected = false;
  /** What the receiver said before its banner was read: of drift, that it found as it started. */
  readonly #early: { readonly fields: object; readonly text: string }[] = [];
  readonly #peer: string;
  readonly #log: Log;

  constructor(child: ChildProcessWithoutNullStreams, peer: string, log: Log) {
    this.#peer = peer;
    this.#log = log;
    let rest = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = (parts.pop() ?? '').slice(0, lineSizeMax);
      for (const line of parts) this.#add(line.slice(0, lineSizeMax).trim());
    });
    child.stderr.on('end', () => this.#add(rest.trim()));
  }

  /** From now on what is said goes into the log; before, it becomes the error. */
  connected(): void {
    this.#isConnected = true;
    for (const { fields, text } of this.#early.splice(0)) this.#log.warn(fields, text);
  }

  #add(line: string): void {
    if (line === '') return;
    const { level, message, isOurs, ...rest } = readLogLine(line);
    const fields = { ...rest.fields, peer: this.#peer };
    const text = `${this.#peer}: ${message}`;
    if (level === 'info' || level === 'debug') {
      this.#log.debug(fields, text);
      return;
    }
    this.kept.push(message);
    if (this.kept.length > linesKept) this.kept.shift();
    if (this.#isConnected) this.#log.warn(fields, text);
    else if (isOurs && this.#early.length < earlyMax) this.#early.push({ fields, text });
  }
}

interface LogLine {
  readonly level: string;
  readonly message: string;
  /** The receiver said it, not ssh or a shell. */
  readonly isOurs: boolean;
  /** What it is about: a path, a reason. */
  readonly fields: Readonly<Record<string, string | number | boolean>>;
}

/** A line of the receiver's JSON log, or of anything else. */
function readLogLine(line: string): LogLine {
  if (line.startsWith('{')) {
    try {
      const { level, msg, time: _, pid: __, ...rest }: Record<string, unknown> = JSON.parse(line);
      if (typeof level === 'string' && typeof msg === 'string') {
        return { level, message: msg, isOurs: true, fields: plainFields(rest) };
      }
    } catch {
      // Not ours.
    }
  }
  return { level: 'error', message: line, isOurs: false, fields: {} };
}

function plainFields(rest: Record<string, unknown>): LogLine['fields'] {
  const fields: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(rest)) {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      fields[name] = value;
    }
  }
  return fields;
}
