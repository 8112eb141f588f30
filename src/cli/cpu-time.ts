// CPU time of this process: its threads, and its children that have ended.
import { readFileSync } from 'node:fs';

/** The kernel counts in these (USER_HZ) whatever the machine. */
const ticksPerSecond = 100;

export function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000 + childrenCpuMs();
}

/** Fields cutime and cstime of proc(5); 0 where there is no /proc. */
function childrenCpuMs(): number {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[13]) + Number(fields[14])) * 1000) / ticksPerSecond;
  } catch {
    return 0;
  }
}
