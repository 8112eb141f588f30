// Which tree a sender stands for. It must survive lost state, restarts and moves of the state.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * 16 bytes: the same for the same real path on the same machine. The machine is known by
 * machine-id(5), else by its name.
 */
export function sourceIdentity(realPath: string, hostname: string): Buffer {
  const hash = createHash('sha256').update('replica source\0');
  hash.update(`${machineId() ?? hostname}\0${realPath}`);
  return hash.digest().subarray(0, 16);
}

function machineId(): string | undefined {
  try {
    const text = readFileSync('/etc/machine-id', 'utf8').trim();
    return /^[0-9a-f]{32}$/.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}
