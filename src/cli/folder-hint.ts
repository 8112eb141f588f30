// A target without a slash is a host. Who meant a folder is told so, before anything else about the
// host is.
import { lookup } from 'node:dns/promises';
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCode } from '../errors.ts';
import { isWord, type Target } from './target.ts';

/** A resolver that does not answer is not waited for: the hint is all that is lost. */
const lookupMsMax = 3000;

type HostTarget = Target & { readonly kind: 'host' };

/** '; for the folder copy write ./copy', where there is one; otherwise ''. */
export function folderHint(target: HostTarget, cwd: string): string {
  const { host } = target;
  if (!isWord(target)) return '';
  const stats = statSync(resolve(cwd, host), { throwIfNoEntry: false });
  return stats?.isDirectory() ? `; for the folder ${host} write ./${host}` : '';
}

/** Why the name is no host, with what to write for a folder; undefined when it is one, or may be. */
export async function noHostOf(target: HostTarget, cwd: string): Promise<string | undefined> {
  const { host } = target;
  const over = new AbortController();
  const late = sleep(lookupMsMax, undefined, { signal: over.signal });
  late.catch(() => {}); // The answer came first.
  try {
    await Promise.race([lookup(host), late]);
    return undefined;
  } catch (error) {
    const isWanted = isWord(target) ? isUnknownName(error) : systemCode(error) === 'ENOTFOUND';
    if (!isWanted) return undefined;
    if (!isWord(target)) return `there is no host ${host}`;
    const hint = folderHint(target, cwd) || `; for a folder of that name write ./${host}`;
    return `there is no host ${host}${hint}`;
  } finally {
    over.abort();
  }
}

/** What a lookup, or a connection by name, fails with. */
export function isUnknownName(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOTFOUND' || code === 'EAI_AGAIN';
}
