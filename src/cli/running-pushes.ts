// The pushes of this user that are running, found by the sockets in their state folders.
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { callControl } from '../control/control-client.ts';
import { ReplicaError, systemCode } from '../errors.ts';
import { controlAnswerMs } from '../limits.ts';
import type { Log } from '../log.ts';
import { realPathOf } from '../store/real-path.ts';
import { parseTarget } from './target.ts';
import { targetName } from './target-name.ts';

/** What a push says of itself. */
export interface PushIdentity {
  /** Real path. */
  readonly source: string;
  /** As in the name of its state folder: host:port, or file: and a real path. */
  readonly target: string;
  readonly pid: number;
  /** Of its answers: what another one means may be anything. */
  readonly protocol: number;
}

/** Raised when answers change in what those of before would misread. */
export const controlProtocol = 1;

export interface RunningPush extends PushIdentity {
  readonly folder: string;
}

export interface PushChoice {
  readonly source: string | undefined;
  readonly target: string | undefined;
}

interface FindOptions {
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Those below `stateBase` that fit, in order of their sources. One that cannot be asked is named and left out. */
export async function findPushes(
  stateBase: string,
  choice: PushChoice,
  { cwd, signal, log }: FindOptions,
): Promise<readonly RunningPush[]> {
  const source = choice.source && realPathOf(resolve(cwd, choice.source));
  const target = choice.target && targetName(parseTarget(choice.target), cwd);
  const found: RunningPush[] = [];
  for (const name of foldersIn(stateBase)) {
    const folder = join(stateBase, name);
    const push = await identify(folder, { signal, log });
    if (push === undefined) continue;
    const isIt =
      (source === undefined || push.source === source) &&
      (target === undefined || push.target === target);
    if (isIt) found.push({ ...push, folder });
  }
  return found.sort((a, b) => (a.source + a.target < b.source + b.target ? -1 : 1));
}

/** The one that fits; throws ERR_SOCKET when none runs, ERR_USAGE when several do. */
export function onlyOne(pushes: readonly RunningPush[], choice: PushChoice): RunningPush {
  const [push, other] = pushes;
  if (push === undefined) throw noPush(choice);
  if (other === undefined) return push;
  const list = pushes.map(({ source, target }) => `${source} ${target}`).join(', ');
  throw new ReplicaError('ERR_USAGE', `several pushes fit, name one by <src> <target>: ${list}`);
}

export function noPush({ source, target }: PushChoice): ReplicaError {
  const what = source === undefined ? '' : ` of ${source}${target ? ` to ${target}` : ''}`;
  return new ReplicaError('ERR_SOCKET', `no push${what} is running: start 'replica push'`);
}

function foldersIn(stateBase: string): string[] {
  try {
    return readdirSync(stateBase).sort();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** What runs with that state; undefined: nothing, or nothing that answers. */
async function identify(
  folder: string,
  { signal, log }: Pick<FindOptions, 'signal' | 'log'>,
): Promise<PushIdentity | undefined> {
  try {
    const call = { folder, command: 'about', signal, timeoutMs: controlAnswerMs };
    const answer = await callControl(call);
    return answer && readIdentity(answer.result);
  } catch (error) {
    // One that ends just now, or whose folder is another user's, says nothing of the others.
    const isOnlyIt = error instanceof ReplicaError && !signal.aborted;
    if (!isOnlyIt || (error.code !== 'ERR_TIMEOUT' && error.code !== 'ERR_SOCKET')) throw error;
    log.warn({ folder }, error.message);
    return undefined;
  }
}

export function readIdentity(value: unknown): PushIdentity | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { source, target, pid, protocol } = value as Partial<Record<keyof PushIdentity, unknown>>; // Checked below.
  if (typeof source !== 'string' || typeof target !== 'string') return undefined;
  return { source, target, pid: Number(pid), protocol: Number(protocol) };
}
