// The story of a bad network: connection after connection is cut, or has one bit flipped, at
// random offsets, while the source changes and a reader watches the destination.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fakeSsh } from './fake-ssh.ts';
import { Load } from './kill-story.ts';
import type { SshAddress } from './live-pair.ts';
import { Home, type Program } from './programs.ts';
import { pick, randomInteger, seededRandom } from './random.ts';
import { Relay } from './relay.ts';
import type { Watched, Watcher } from './watcher.ts';

export const spoilings = ['cut', 'flip', 'flip answer'] as const;
export type Spoiling = (typeof spoilings)[number];

export interface NetworkOptions {
  readonly folder: string;
  readonly seed: number;
  readonly insecure: boolean;
  readonly kinds: readonly Spoiling[];
  /** Connections to spoil. */
  readonly count: number;
  readonly timeoutMs: number;
  /** Over ssh to it; its ssh is also killed now and then. */
  readonly sshd?: SshAddress | undefined;
}

export interface NetworkOutcome {
  readonly watched: Watched;
  readonly connections: number;
  readonly drift: readonly string[];
  readonly complaints: readonly string[];
  readonly convergedMs: number;
  readonly differences: readonly string[];
  /** Each spoiled connection, for the one who looks for a cause. */
  readonly spoiled: readonly string[];
  /** Of the sender, then of the receiver. */
  readonly lastLines: readonly string[];
}

export async function networkStory(options: NetworkOptions): Promise<NetworkOutcome> {
  const { folder, seed, insecure, count, sshd } = options;
  const random = seededRandom(seed);
  const load = new Load(folder, seed);
  const home = new Home(join(folder, 'home'));
  const flags = insecure ? ['--insecure'] : [];
  const listening = sshd ? undefined : await home.receive(load.target, flags);
  const receive = listening?.program;
  const plan = new Map<number, { kind: Spoiling; offset: number }>();
  const spoiled: string[] = [];
  // The first one brings the stable files to where the reader expects them.
  for (let i = 1; i <= count; i++) {
    plan.set(i, { kind: pick(random, options.kinds), offset: randomOffset(random) });
  }
  const at = (kind: Spoiling) => (connection: number) => {
    const planned = plan.get(connection);
    if (planned?.kind !== kind) return undefined;
    spoiled.push(`${kind} ${planned.offset}`);
    // The answers are few.
    return kind === 'flip answer' ? Math.round(planned.offset ** 0.7) : planned.offset;
  };
  const relay = await Relay.open({
    targetPort: sshd?.port ?? listening?.port ?? 0,
    cutAfter: at('cut'),
    flipAt: at('flip'),
    flipAnswerAt: at('flip answer'),
  });
  const target = sshd
    ? `ssh://${sshd.user}@127.0.0.1:${relay.port}${load.target}`
    : `127.0.0.1:${relay.port}`;
  const ssh = sshd ? [...fakeSsh(folder), '--rsh', sshd.rsh] : [];
  const push = home.push(load.source, target, ['--interval', '100', ...ssh, ...flags]);
  let watcher: Watcher | undefined;
  try {
    await push.line(/in sync/, 30_000);
    watcher = await load.watch();
    relay.cut();
    load.start(20);
    const deadline = performance.now() + options.timeoutMs;
    while (relay.connections <= count + 1) {
      if (performance.now() > deadline || push.exited || receive?.exited) break;
      if (sshd && random() < 0.01) killSshOf(push, spoiled);
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    load.stop();
    const flushed = await load.flush(home, target);
    const differences = load.differences();
    const watched = await watcher.stop();
    watcher = undefined;
    const lines = [...push.lines, ...(receive?.lines ?? [])];
    return {
      watched,
      connections: relay.connections,
      drift: lines.filter(line => /"msg":"drift"|changed at the destination/.test(line)),
      complaints: [
        ...flushed.complaints,
        ...lines.filter(line => /internal error|a bug|ERR_STATE/.test(line)),
        ...(push.exited ? [`push ended: ${push.lines.at(-1)}`] : []),
        ...(receive?.exited ? [`receive ended: ${receive.lines.at(-1)}`] : []),
      ],
      convergedMs: flushed.tookMs,
      differences,
      spoiled,
      lastLines: [...push.lines.slice(-8), ...(receive?.lines.slice(-8) ?? [])],
    };
  } finally {
    load.stop();
    watcher?.kill();
    await push.stop('SIGKILL');
    await receive?.stop('SIGKILL');
    await relay.close();
  }
}

/** The processes that the push started: nobody tells the other end. */
function killSshOf(push: Program, spoiled: string[]): void {
  const { status } = spawnSync('pkill', ['-KILL', '-P', `${push.child.pid}`, '-x', 'ssh']);
  if (status === 0) spoiled.push('kill ssh');
}

/** Every order of magnitude alike, from the first byte of the handshake to a large file. */
function randomOffset(random: () => number): number {
  if (random() < 0.3) return randomInteger(random, 800);
  return Math.floor(500 * 1000 ** random());
}
