// `replica doctor <src> <folder>`: would that folder take this source? As a receiver there decides it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ReplicaError, systemCode } from '../errors.ts';
import { liveHolder } from '../receiver/lock.ts';
import { realPathOf } from '../store/real-path.ts';
import { recordedSource } from '../store/recorded-source.ts';
import { ExitCode } from './exit-code.ts';
import { bad, type Finding, ok, warn } from './finding.ts';
import { sourceIdentity } from './source-identity.ts';

export interface ReplicaQuestion {
  readonly source: string | undefined;
  readonly hostname: string;
  readonly adopt: boolean;
  readonly takeOver: boolean;
}

const check = 'replica';

/** `root`: a folder on this machine, which need not be there. It is only read. */
export async function examineReplica(root: string, question: ReplicaQuestion): Promise<Finding> {
  try {
    return await judge(root, question);
  } catch (error) {
    const code = error instanceof ReplicaError ? error.code : systemCode(error);
    if (code === undefined) throw error;
    const message = `whether ${root} takes this source was not found out (${code})`;
    return warn(check, message, 'the push will tell');
  }
}

async function judge(root: string, question: ReplicaQuestion): Promise<Finding> {
  const { source, hostname, adopt, takeOver } = question;
  const own = join(root, '.replica');
  if (!existsSync(own)) {
    if (!existsSync(root) || readdirSync(root).length === 0) {
      return ok(check, `${root} is empty: it becomes a replica`);
    }
    if (adopt) return ok(check, `${root} is not empty, and taken over by --adopt`);
    return bad(check, `${root} is not empty`, {
      advice: "give an empty folder, or 'push --adopt' to take over what is there",
      exitCode: ExitCode.Path,
    });
  }
  const holder = liveHolder(readIfThere(join(own, 'receive.lock')));
  const isOwn = holder === `pid ${process.pid}`;
  const recorded = isOwn ? undefined : await recordedSource(join(own, 'state'));
  const isMeant =
    recorded === undefined ||
    source === undefined ||
    recorded.id.equals(sourceIdentity(realPathOf(source), hostname));
  if (!isMeant && !takeOver) {
    return bad(check, `it belongs to ${recorded.label}`, {
      advice: "choose another folder, or 'push --take-over' to replace that source by this one",
      exitCode: ExitCode.Path,
    });
  }
  if (holder !== undefined) {
    const message = `a push to it, or a receive, is running (${holder})`;
    return warn(check, message, 'another push to it is refused until that ends');
  }
  const whose = recorded === undefined ? 'no source yet' : recorded.label;
  return ok(check, `it belongs to ${whose}${isMeant ? '' : ', and is taken over by --take-over'}`);
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return '';
    throw error;
  }
}
