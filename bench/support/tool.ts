// A tool that makes a target equal to a source and keeps it so, as the benches drive it: all of them
// on loopback, each process with a home below one folder.
import fs from 'node:fs';
import { join } from 'node:path';
import { compareByDiff } from '../../test/support/rsync.ts';
import { ToolMeter } from './processes.ts';

export interface Place {
  /** Homes, states and configuration go below it. */
  readonly folder: string;
  readonly source: string;
  /** Empty at first. */
  readonly target: string;
  /** Between two looks at the source by `follow`. */
  readonly intervalSeconds: number;
}

/** What one copy took, on both sides together. */
export interface Work {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** The largest sum of RssAnon seen. */
  readonly anonymousMib: number;
}

export interface Session {
  /**
   * Makes the target equal: from the start of the sending program until it says that it is done.
   * The receiving side runs already. Again, with nothing changed, this is a restart.
   */
  copy(): Promise<Work>;
  /** From now on it polls. Resolves when it has begun. */
  follow(): Promise<void>;
  /** How many commits it has called durable so far; not every tool says. */
  commits?(): number;
  /** Processes of both sides; those below them and ended ones need not be named. */
  pids(): readonly number[];
  close(): Promise<void>;
}

export interface Tool {
  readonly name: string;
  /** What it says of itself; undefined where it is not installed. */
  readonly version: () => string | undefined;
  readonly open: (place: Place) => Promise<Session>;
}

/** Opens a session in a new folder, removed with what it made. */
export async function withSession<T>(
  tool: Tool,
  at: { readonly base: string; readonly source: string; readonly intervalSeconds: number },
  act: (session: Session, target: string) => Promise<T>,
): Promise<T> {
  const folder = fs.mkdtempSync(join(at.base, `${tool.name}-`));
  const target = join(folder, 'target');
  fs.mkdirSync(target);
  const { source, intervalSeconds } = at;
  const session = await tool.open({ folder, source, target, intervalSeconds });
  try {
    return await act(session, target);
  } finally {
    await session.close();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Throws unless they are equal in names, types and content; tools may leave a mark of their own. */
export async function checkEqual(source: string, target: string): Promise<void> {
  const differences = await compareByDiff(source, target);
  const found = differences.filter(line => !line.endsWith(': .stfolder'));
  if (found.length > 0) throw new Error(`not equal: ${found.slice(0, 3).join('; ')}`);
}

/** What `act` costs a session. */
export async function meter(session: Session, act: () => Promise<unknown>): Promise<Work> {
  const running = new ToolMeter(() => session.pids());
  const begunMs = performance.now();
  try {
    await act();
  } catch (error) {
    running.stop();
    throw error;
  }
  const seconds = (performance.now() - begunMs) / 1000;
  return { seconds, ...running.stop() };
}
