// What the kernel allows this process (capabilities(7)).
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';

/** CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_FOWNER: to give a file away, and to work on it afterwards. */
const ownerCapabilities = 0b1011n;

/** May this process give files away? */
export function canSetOwners(): boolean {
  try {
    const match = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'));
    if (match) return (BigInt(`0x${match[1]}`) & ownerCapabilities) === ownerCapabilities;
  } catch {
    // Without /proc the user has to do.
  }
  return userInfo().uid === 0;
}
