// How long until a real tree is there over a link of 10 or 100 Mbit/s, copied first and then updated
// to its next release, beside `rsync -az` to a daemon?
//
//   node dist/bench/scenarios/slow-link.bench.js [--rates 10,100] [--runs 3] [--only NAME]
//     [--push-args '-z …'] [--json FILE] [--place /dev/shm]
//
// The pairs of releases are those of releases.json; updates are made as a checkout makes them. Times
// count from the start of `push --once` or `rsync` to its end, so each pays for its start; their servers
// run already. 'replica, running' is a push that keeps looking: from the tick that sees the update (it
// is stopped while that is made) until it is durable. replica encrypts, rsync does not. The link:
// support/link.ts.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Home, Program } from '../../test/support/programs.ts';
import { type Link, openLink } from '../support/link.ts';
import { durableAtMs } from '../support/live-session.ts';
import { own, ownFolder, ownProgram } from '../support/owned.ts';
import {
  checkOut,
  type ReleasePair,
  type ReleaseTrees,
  releasePairs,
  unpackReleases,
} from '../support/packages.ts';
import { describeMachine, finish, type Result, toolsOf } from '../support/results.ts';
import { RsyncDaemon } from '../support/rsync-daemon.ts';
import { median } from '../support/statistics.ts';
import { checkEqual } from '../support/tool.ts';

const { values } = parseArgs({
  options: {
    rates: { type: 'string', default: '10,100' },
    runs: { type: 'string', default: '3' },
    only: { type: 'string' },
    'push-args': { type: 'string', default: '' },
    json: { type: 'string' },
    cache: { type: 'string', default: join(tmpdir(), 'replica-bench-packages') },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const intervalMs = 500;
const limitMs = 600_000;
const base = ownFolder(values.place);

/** Seconds of the first copy and of the update. */
type Times = readonly [number, number];

/** The seconds until it ends well. */
async function timed(command: readonly string[], env?: NodeJS.ProcessEnv): Promise<number> {
  const [file = '', ...args] = command;
  const begunMs = performance.now();
  const child = own(spawn(file, args, { env, stdio: ['ignore', 'ignore', 'pipe'] }));
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command.slice(0, 6).join(' ')} … exits ${code}:\n${errors}`);
  return (performance.now() - begunMs) / 1000;
}

function hasEndedWell([file = '', ...args]: readonly string[]): boolean {
  return spawnSync(file, args).status === 0;
}

async function bothTimes(trees: ReleaseTrees, copy: () => Promise<number>): Promise<Times> {
  const initial = await copy();
  await checkEqual(trees.source, trees.target);
  checkOut(trees.next, trees.source);
  const update = await copy();
  await checkEqual(trees.source, trees.target);
  return [initial, update];
}

async function byRsync(link: Link, pair: ReleasePair): Promise<Times> {
  const trees = unpackReleases(pair, join(base, 'pair'), values.cache);
  const list = (port: number) => ['rsync', `rsync://${link.farAddress}:${port}/`];
  const daemon = await RsyncDaemon.open(trees.target, trees.folder, {
    address: link.farAddress,
    wrap: command => link.at('far', command),
    answers: async port => hasEndedWell(link.at('far', list(port))),
  });
  try {
    const { address, port } = await link.dial(daemon.port);
    const url = `rsync://${address}:${port}/bench/`;
    return await bothTimes(trees, () =>
      timed(link.at('near', ['rsync', '-az', '--delete', `${trees.source}/`, url])),
    );
  } finally {
    await daemon.close();
  }
}

interface Running {
  readonly trees: ReleaseTrees;
  readonly env: NodeJS.ProcessEnv;
  /** `push`, but for flags of its own. */
  readonly push: readonly string[];
}

/** With a receiver at the far end. */
async function withReceiver<T>(
  link: Link,
  pair: ReleasePair,
  act: (running: Running) => Promise<T>,
): Promise<T> {
  const trees = unpackReleases(pair, join(base, 'pair'), values.cache);
  const { env, folder } = new Home(join(trees.folder, 'home'));
  const listen = ['receive', trees.target, '--host', link.farAddress, '--port', '0'];
  const receive = start(link.at('far', [process.execPath, main, ...listen]), env);
  try {
    const line = await receive.line(/^listening on /);
    const { address, port } = await link.dial(Number(line.slice(line.lastIndexOf(':') + 1)));
    const key = join(folder, 'config/replica/receiver.key');
    const given = values['push-args'].split(' ').filter(arg => arg !== '');
    // rsync's --delete knows no limit.
    const flags = ['--max-delete', '100%', '--key-file', key, ...given];
    const push = [process.execPath, main, 'push', trees.source, `${address}:${port}`, ...flags];
    return await act({ trees, env, push: link.at('near', push) });
  } finally {
    await receive.stop();
  }
}

function start([file = '', ...args]: readonly string[], env: NodeJS.ProcessEnv): Program {
  return ownProgram(Program.spawn(file, args, env));
}

const byReplica = (link: Link, pair: ReleasePair): Promise<Times> =>
  withReceiver(link, pair, ({ trees, env, push }) =>
    bothTimes(trees, () => timed([...push, '--once'], env)),
  );

/** The update alone. */
const byRunningReplica = (link: Link, pair: ReleasePair): Promise<number> =>
  withReceiver(link, pair, async ({ trees, env, push }) => {
    const running = start([...push, '--interval', String(intervalMs)], env);
    try {
      await running.line(/in sync/, limitMs);
      const from = running.lines.length;
      running.child.kill('SIGSTOP');
      checkOut(trees.next, trees.source);
      // Longer than an interval, so that it looks the moment it goes on.
      await sleep(intervalMs + 100);
      const begunMs = Date.now();
      running.child.kill('SIGCONT');
      await running.line(/in sync/, limitMs, from);
      await checkEqual(trees.source, trees.target);
      return (durableAtMs(running.lines.slice(from)) - begunMs) / 1000;
    } finally {
      await running.stop();
    }
  });

const pairs = releasePairs().filter(
  ({ name }) => values.only === undefined || name === values.only,
);
const results: Result[] = [];
const kinds = new Set<string>();
for (const rate of values.rates.split(',').map(Number)) {
  for (const pair of pairs) {
    const [ours, theirs, running]: [Times[], Times[], number[]] = [[], [], []];
    const link = openLink(rate);
    kinds.add(link.kind);
    for (let run = 0; run < Number(values.runs); run++) {
      ours.push(await byReplica(link, pair));
      theirs.push(await byRsync(link, pair));
      running.push(await byRunningReplica(link, pair));
    }
    await link.close();
    const first = { group: `At ${rate} Mbit/s, first copy`, work: `${pair.name} ${pair.from}` };
    const update = { group: `At ${rate} Mbit/s, update`, work: `${pair.name} to ${pair.to}` };
    const series = { takesTurns: true };
    const add = (tool: string, times: readonly Times[]): void => {
      results.push({
        ...first,
        ...series,
        tool,
        unit: 's',
        runs: times.map(([seconds]) => seconds),
      });
      results.push({
        ...update,
        ...series,
        tool,
        unit: 's',
        runs: times.map(([, seconds]) => seconds),
      });
    };
    add('replica', ours);
    results.push({ ...update, ...series, tool: 'replica, running', unit: 's', runs: running });
    add('rsync -az', theirs);
  }
  console.error(`${rate} Mbit/s: done`);
}
results.sort((a, b) => order(a) - order(b));

/** Rates as they came, first copies before updates. */
function order({ group }: Result): number {
  return [...new Set(results.map(result => result.group))].sort().indexOf(group);
}

const options = { ...values, json: undefined, link: [...kinds].join(', ') };
finish({ scenario: 'slow-link', machine: describeMachine(), options, results }, values.json);
for (const group of new Set(results.map(result => result.group))) {
  const sums = toolsOf(results).flatMap(tool => {
    const of = results.filter(one => one.group === group && one.tool === tool);
    const sum = of.reduce((total, { runs }) => total + median(runs), 0);
    return of.length === 0 ? [] : [`${tool} ${sum.toFixed(1)} s`];
  });
  console.log(`${group}, all of them: ${sums.join(', ')}`);
}
