// A source that goes away and comes back: the story that every way of vanishing has in common.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Transport } from './fake-ssh.ts';
import { makeDiskFolder } from './folders.ts';
import { LivePair } from './live-pair.ts';
import { compareReadTrees, createTree, hardLink, readTree } from './tree.ts';

const tree = {
  'a.txt': 'one',
  'b.txt': 'two',
  folder: { deep: { 'c.txt': 'three' }, 'd.txt': 'four' },
  twin: hardLink('a.txt'),
};

export function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

export interface Ready {
  readonly pair: LivePair;
  /** The destination is as it was: nothing deleted, nothing changed. */
  unchanged(): readonly string[];
}

/** A pair in sync. */
export async function inSync(
  t: Test,
  transport: Transport,
  prepare?: (pair: LivePair) => void,
): Promise<Ready> {
  const pair = new LivePair({ folder: makeDiskFolder(t), transport });
  t.teardown(() => pair.kill());
  prepare?.(pair);
  createTree(pair.source, tree);
  await pair.start();
  await pair.equal();
  await pair.push?.line(/in sync/);
  const before = readTree(pair.target);
  return { pair, unchanged: () => deletions(before, pair) };
}

/** Sweeps go on while the source is away: long enough for a wrong delete to arrive. */
export async function severalSweeps(): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, 1000));
}

export interface Vanishing {
  readonly name: string;
  readonly vanish: (t: Test, pair: LivePair) => void;
  readonly comeBack: (pair: LivePair) => void;
  readonly reason: RegExp;
  /** Exit code of a --once meanwhile. */
  readonly code: number;
  readonly prepare?: (t: Test, pair: LivePair) => void;
}

export const away = (pair: LivePair): string => `${pair.source}.away`;

/** The time of the root itself may follow: names in it came and went. */
function deletions(before: ReturnType<typeof readTree>, pair: LivePair): string[] {
  const lines = compareReadTrees(before, readTree(pair.target));
  return lines.filter(line => !line.startsWith('"" mtimeUs'));
}

/** It vanishes while push runs, comes back, and vanishes before a --once. */
export async function vanishAndComeBack(
  t: Test,
  transport: Transport,
  one: Vanishing,
): Promise<void> {
  const { vanish, comeBack, reason, code, prepare } = one;
  const { pair, unchanged } = await inSync(t, transport, pair => prepare?.(t, pair));
  const device = fs.statSync(pair.source).dev;
  vanish(t, pair);
  t.match(await pair.push?.line(reason), reason, 'the reason is printed');
  await severalSweeps();
  t.strictSame(unchanged(), [], 'nothing is deleted');

  comeBack(pair);
  if (prepare) t.not(fs.statSync(pair.source).dev, device, 'the device number is another one');
  fs.writeFileSync(join(pair.source, 'new'), 'it goes on');
  fs.rmSync(join(pair.source, 'b.txt'));
  await pair.equal();
  t.ok(fs.existsSync(join(pair.target, 'new')), 'replication resumes by itself');
  t.notOk(fs.existsSync(join(pair.target, 'b.txt')), 'and real deletes with it');
  t.equal((await pair.push?.stop())?.code, 0);
  const afterwards = readTree(pair.target);

  if (one.name === 'emptied') fs.rmSync(away(pair), { recursive: true });
  if (prepare) run('umount', pair.source);
  else vanish(t, pair);
  const once = await pair.once();
  t.equal(once.code, code, 'a --once meanwhile does not exit 0');
  t.ok(
    once.lines.some(line => reason.test(line) || /does not exist|not a directory/.test(line)),
    `it says why: ${once.lines.at(-1)}`,
  );
  t.strictSame(deletions(afterwards, pair), [], 'nor does it delete');
}
