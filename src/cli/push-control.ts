// What a running push answers on its control socket.
import { type ControlHandlers, ControlServer } from '../control/control-server.ts';
import { ReplicaError, systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Bandwidth, parseBandwidth } from './bandwidth.ts';
import type { RunningSender } from './programs.ts';
import type { PushIdentity } from './running-pushes.ts';

/** Lines of `list` unless it says otherwise, and at most: as many changes as are ever under way. */
const listMax = 20_000;

interface ControlParts {
  readonly identity: PushIdentity;
  readonly bandwidth: Bandwidth;
  readonly log: Log;
}

/** Without it the push goes on: nobody can ask it anything, that is all. */
export async function openControl(
  folder: string,
  sender: RunningSender,
  { identity, bandwidth, log }: ControlParts,
): Promise<{ close(): Promise<void> }> {
  try {
    return await ControlServer.open(folder, handlers(sender, identity, bandwidth));
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    log.warn({ code }, `no 'replica status' for this push: no socket in ${folder} (${code})`);
    return { close: async () => {} };
  }
}

function handlers(
  sender: RunningSender,
  identity: PushIdentity,
  bandwidth: Bandwidth,
): ControlHandlers {
  return {
    about: () => identity,
    status: () => ({ ...sender.status, bwlimit: bandwidth.text }),
    list: argument => sender.pending(countOf(argument)),
    explain: argument => sender.explain(textOf(argument)),
    flush: (_, signal) => sender.flush(signal),
    bwlimit: argument => {
      bandwidth.plan = parseBandwidth(textOf(argument), 'bwlimit');
      return bandwidth.text;
    },
    pause: () => sender.pause(),
    resume: () => sender.resume(),
    approve: () => sender.decide('approve'),
    reject: () => sender.decide('reject'),
    unreject: () => sender.decide('undo'),
  };
}

function countOf(argument: unknown): number {
  return typeof argument === 'number' ? Math.min(argument, listMax) : listMax;
}

function textOf(argument: unknown): string {
  if (typeof argument === 'string') return argument;
  throw new ReplicaError('ERR_USAGE', 'expected a text');
}
