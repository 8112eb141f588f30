// A push of the same source to the same target on this machine, found by the state they share.
import { callControl } from '../control/control-client.ts';
import { ReplicaError } from '../errors.ts';
import { controlAnswerMs } from '../limits.ts';
import { type PushIdentity, readIdentity } from './running-pushes.ts';

/** What answers for the state in `folder`, be it this process; undefined: nothing. */
export async function pushIn(
  folder: string,
  signal: AbortSignal,
): Promise<PushIdentity | undefined> {
  const call = { folder, command: 'about', signal, timeoutMs: controlAnswerMs };
  const answer = await callControl(call);
  return answer && readIdentity(answer.result);
}

/** Process id of another one. One that hangs, or is about to end, is none. */
export async function otherPush(folder: string, signal: AbortSignal): Promise<number | undefined> {
  try {
    const pid = (await pushIn(folder, signal))?.pid;
    return pid === process.pid ? undefined : pid;
  } catch (error) {
    if (error instanceof ReplicaError) return undefined;
    throw error;
  }
}

/** What ends this push when the receiver took another one in its place. */
export async function takenOver(
  names: { readonly folder: string; readonly source: string; readonly target: string },
  cause: ReplicaError,
): Promise<ReplicaError> {
  const { folder, source, target } = names;
  const pid = await otherPush(folder, AbortSignal.timeout(controlAnswerMs));
  const which = pid === undefined ? "; the receiver's log names it" : ` (pid ${pid})`;
  const text = `another push of ${source} to ${target} took over${which}: one is enough; stop that one before starting this one again`;
  return new ReplicaError('ERR_FENCED', text, { cause });
}
