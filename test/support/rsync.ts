// Two comparisons of trees that share no code with the product or with test/support/tree.ts.
// Source times must be whole microseconds: that is all a destination can be given.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { libuvCuts } from '../../src/tree/times.ts';

/**
 * What `rsync` would still do to make `target` equal to `source`, one line each; empty if they
 * are equal in names, types, content, modes, times, owners, link targets and hard links.
 */
export function compareByRsync(
  source: string,
  target: string,
  extra: readonly string[] = [],
): Promise<string[]> {
  // Where Node cannot set whole microseconds, rsync can compare whole seconds only.
  const window = libuvCuts() ? -1 : 0;
  const flags = ['-anHi', '--checksum', '--delete', `--modify-window=${window}`];
  flags.push('--exclude=/.replica');
  return linesOf('rsync', [...flags, ...extra, `${source}/`, `${target}/`]);
}

/** What `diff` finds in names, types, content and link targets, one line each. */
export function compareByDiff(source: string, target: string): Promise<string[]> {
  return linesOf('diff', ['-r', '--no-dereference', '-x', '.replica', source, target]);
}

/** Both; the lines say which. */
export async function compareIndependently(source: string, target: string): Promise<string[]> {
  const byRsync = await compareByRsync(source, target);
  const byDiff = await compareByDiff(source, target);
  return [...byRsync.map(line => `rsync: ${line}`), ...byDiff.map(line => `diff: ${line}`)];
}

async function linesOf(command: string, options: readonly string[]): Promise<string[]> {
  const child = spawn(command, options, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  const [output, complaints] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [exitCode] = await ended;
  const lines = `${output}${complaints}`.split('\n').filter(line => line !== '');
  if (exitCode !== 0 && lines.length === 0) lines.push(`${command} ended with ${exitCode}`);
  return lines;
}
