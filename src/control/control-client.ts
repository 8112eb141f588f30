// Asks a running program, see control-server.ts.
import { closeSync, constants, openSync } from 'node:fs';
import net from 'node:net';
import { type ErrorCode, isErrorCode, ReplicaError, systemCode } from '../errors.ts';
import { controlAnswerSizeMax } from '../limits.ts';
import { socketName, socketPath } from './socket-path.ts';

/** Nothing listens in a folder: no program runs with that state. */
const nobody: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTDIR']);

export interface ControlCall {
  /** The state folder of the program. */
  readonly folder: string;
  readonly command: string;
  readonly argument?: unknown;
  readonly signal: AbortSignal;
  /** Longest time to an answer; undefined: as long as it takes. */
  readonly timeoutMs?: number | undefined;
}

/**
 * The answer, or undefined when no program runs with that state. Throws what the program answered
 * with, ERR_SOCKET when it ended before it answered or `signal` was aborted, ERR_TIMEOUT after
 * timeoutMs.
 */
export async function callControl(call: ControlCall): Promise<{ result: unknown } | undefined> {
  const { folder, command, argument, signal, timeoutMs } = call;
  const late = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  const either = late === undefined ? signal : AbortSignal.any([signal, late]);
  let text: string;
  try {
    text = await ask(folder, `${JSON.stringify({ command, argument })}\n`, either);
  } catch (error) {
    if (nobody.has(systemCode(error))) return undefined;
    const why = systemCode(error) ?? 'unknown error';
    const message = `cannot ask the push whose state is in ${folder} (${why})`;
    throw new ReplicaError('ERR_SOCKET', message, { cause: error });
  }
  if (text === '' && late?.aborted === true) {
    const message = `the push does not answer; its state is in ${folder}`;
    throw new ReplicaError('ERR_TIMEOUT', message);
  }
  if (text === '') throw new ReplicaError('ERR_SOCKET', 'the push ended before it answered');
  const answer = parse(text);
  if (isRecord(answer) && isRecord(answer.error)) {
    const { code, message } = answer.error;
    throw new ReplicaError(codeOf(code), String(message));
  }
  return { result: isRecord(answer) ? answer.result : undefined };
}

function ask(folder: string, request: string, signal: AbortSignal): Promise<string> {
  const folderFd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  const path = socketPath(folder, folderFd, socketName);
  return new Promise<string>((resolve, reject) => {
    const socket = net.connect({ path });
    const stop = (): void => {
      socket.destroy();
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(request));
    socket.on('data', chunk => {
      text += chunk;
      if (text.length > controlAnswerSizeMax) socket.destroy(new Error('the answer is too long'));
    });
    socket.on('error', reject);
    socket.on('close', () => {
      signal.removeEventListener('abort', stop);
      resolve(text.endsWith('\n') ? text : '');
    });
  }).finally(() => closeSync(folderFd));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ReplicaError('ERR_SOCKET', 'what answers is no push', { cause: error });
  }
}

function codeOf(code: unknown): ErrorCode {
  return isErrorCode(code) ? code : 'ERR_IO';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
