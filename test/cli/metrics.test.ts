import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { formatFamilies } from '../../src/cli/exposition.ts';
import { MetricsServer, parseMetricsAddress } from '../../src/cli/metrics-server.ts';
import { PushMetrics } from '../../src/cli/push-metrics.ts';
import { ReceiveMetrics } from '../../src/cli/receive-metrics.ts';
import { ReplicaError } from '../../src/errors.ts';
import { noTotals } from '../../src/receiver/figures.ts';
import type { SenderEvent } from '../../src/sender/events.ts';
import { collectingLog } from '../support/receivers.ts';
import { runInProcess, TextSink } from '../support/run-cli.ts';
import { get, parseExposition } from '../support/scrape.ts';
import { until } from '../support/until.ts';

interface Started {
  readonly stderr: TextSink;
  readonly stdout: TextSink;
  /** Of the web server, without a path. */
  readonly url: string;
  readonly stop: () => Promise<number | null>;
}

/** A command in this process that runs until it is stopped, once its metrics are there. */
async function start(t: Test, home: string, ...argv: string[]): Promise<Started> {
  const stop = new AbortController();
  const [stdout, stderr] = [new TextSink(), new TextSink()];
  const flags = ['--metrics', '0'];
  const { signal } = stop;
  const running = runInProcess([...argv, ...flags], { home, stdout, stderr, signal });
  const ended = running.then(one => one.code);
  t.teardown(() => {
    stop.abort();
    return ended;
  });
  const url = /"url":"(http:\S+)\/metrics"/;
  await until(() => url.test(stderr.text), `metrics of ${argv[0]}`);
  return {
    stderr,
    stdout,
    url: url.exec(stderr.text)?.[1] ?? '',
    stop: () => {
      stop.abort();
      return ended;
    },
  };
}

async function scrape(url: string): Promise<ReadonlyMap<string, number>> {
  const { status, type, body } = await get(`${url}/metrics`);
  t.match({ status, type }, { status: 200, type: /^text\/plain; version=0\.0\.4/ });
  return parseExposition(body);
}

function logged(sink: TextSink): Record<string, unknown>[] {
  const lines = sink.text.split('\n').filter(line => line.startsWith('{'));
  return lines.map(line => JSON.parse(line));
}

t.test('what is scraped is what the log says happened', async t => {
  const home = t.testdir({
    src: { a: 'first', b: 'x'.repeat(3000), sub: { c: 'x'.repeat(3000) } },
  });
  const receive = await start(t, home, 'receive', 'dst', '--host', '127.0.0.1', '--port', '0');
  const listening = /^listening on (.*)$/m;
  await until(() => listening.test(receive.stdout.text), 'listening');
  const idle = await get(`${receive.url}/healthz`);
  t.match(idle, { status: 503, body: 'no sender is connected\n' });
  const address = listening.exec(receive.stdout.text)?.[1] ?? '';
  const push = await start(t, home, 'push', 'src', address, '--interval', '20');
  const syncs = () => logged(push.stderr).filter(line => 'entries' in line && 'special' in line);
  await until(() => syncs().length > 0, 'in sync');
  for (const change of ['one', 'two', 'three']) {
    const before = syncs().length;
    writeFileSync(join(home, 'src/a'), change);
    if (change === 'two') rmSync(join(home, 'src/b'));
    await until(() => syncs().length > before, `in sync after ${change}`);
  }

  // What is durable may not be acknowledged yet, or looked at a second time.
  const watermark = () => Number(logged(push.stderr).findLast(line => 'commit' in line)?.commit);
  let received = await scrape(receive.url);
  let pushed = await scrape(push.url);
  for (let i = 0; i < 10_000 && pushed.get('replica_in_sync') !== 1; i++) {
    pushed = await scrape(push.url);
  }
  for (let i = 0; i < 10_000 && received.get('replica_watermark') !== watermark(); i++) {
    received = await scrape(receive.url);
  }
  const commits = logged(push.stderr).filter(line => 'commit' in line);
  const sum = (field: string) => commits.reduce((total, line) => total + Number(line[field]), 0);
  t.ok(commits.length >= 4);
  t.equal(pushed.get('replica_commits_total'), commits.length);
  t.equal(pushed.get('replica_commit_seconds_count'), commits.length);
  t.equal(pushed.get('replica_commit_seconds_bucket{le="+Inf"}'), commits.length);
  t.equal(pushed.get('replica_operations_total'), sum('operations'));
  t.equal(pushed.get('replica_sent_bytes_total'), sum('bytesSent'));
  t.equal(pushed.get('replica_reused_bytes_total'), sum('bytesReused'));
  t.equal(pushed.get('replica_entries'), syncs().at(-1)?.entries);
  t.equal(pushed.get('replica_connected'), 1);
  t.equal(pushed.get('replica_in_sync'), 1);
  t.equal(pushed.get('replica_lag_seconds'), 0);
  t.equal(pushed.get('replica_held_deletes'), 0);
  t.match(await get(`${push.url}/healthz`), { status: 200, body: 'in sync\n' });

  t.equal(received.get('replica_commits_total'), commits.length);
  t.equal(received.get('replica_operations_total'), sum('operations'));
  t.equal(received.get('replica_watermark'), watermark());
  t.equal(received.get('replica_entries'), syncs().at(-1)?.entries);
  t.equal(received.get('replica_connections_total'), 1);
  t.ok(Number(received.get('replica_received_bytes_total')) > 0);
  t.match(await get(`${receive.url}/healthz`), { status: 200, body: 'a sender is connected\n' });

  t.equal(await receive.stop(), 0);
  await until(() => push.stderr.text.includes('trying again'), 'the loss of the receiver');
  t.match(await get(`${push.url}/healthz`), { status: 503, body: /^not connected: ./ });
  const alone = await scrape(push.url);
  t.equal(alone.get('replica_connected'), 0);
  t.equal(alone.get('replica_in_sync'), 0);
  t.match(await get(`${push.url}/other`), { status: 404 });
  t.match(await get(`${push.url}/metrics`, 'POST'), { status: 405 });
  t.equal(await push.stop(), 0);
  await t.rejects(get(`${push.url}/metrics`), { code: 'ECONNREFUSED' }, 'closed with its program');
});

const commit: SenderEvent = {
  kind: 'commit',
  commit: 1n,
  operations: 2,
  bytesSent: 10,
  bytesReused: 5,
  resent: 1,
  ms: 30,
};
const connected: SenderEvent = { kind: 'connected', peer: 'there' };
const synced: SenderEvent = { kind: 'synced', entries: 3, special: 1 };

class Clock {
  nowMs = 1000;
  readonly metrics: PushMetrics;

  constructor(oldestChangeMs?: () => number | undefined) {
    const own = { source: '/s', nowMs: () => this.nowMs };
    this.metrics = new PushMetrics(oldestChangeMs ? { ...own, oldestChangeMs } : own);
  }

  note(...events: SenderEvent[]): void {
    for (const event of events) this.metrics.note(event);
  }

  value(name: string): number | undefined {
    return parseExposition(formatFamilies(this.metrics.families())).get(`replica_${name}`);
  }

  health(): string {
    const health = this.metrics.health();
    return health.isHealthy ? `ok: ${health.state}` : health.reason;
  }
}

t.test('lag counts from the last time the trees were known to be equal', async t => {
  const clock = new Clock();
  clock.nowMs += 2000;
  t.equal(clock.value('lag_seconds'), 2, 'from the start');
  clock.note(connected, commit, synced);
  t.equal(clock.value('lag_seconds'), 0);
  clock.nowMs += 5000;
  t.equal(clock.value('lag_seconds'), 0);
  clock.note(commit);
  clock.nowMs += 1500;
  clock.note(commit);
  t.equal(clock.value('lag_seconds'), 1.5, 'another commit does not set it back');
  clock.note(synced, { kind: 'held', reason: 'the source is empty', count: 4 });
  clock.nowMs += 3000;
  t.equal(clock.value('held_deletes'), 4);
  t.equal(clock.value('lag_seconds'), 3);
  clock.note({ kind: 'released' });
  t.equal(clock.value('lag_seconds'), 0, 'a sender that was in sync does not say so again');
  t.equal(clock.value('held_deletes'), 0);
  const knowing = new Clock(() => 700);
  t.equal(knowing.value('lag_seconds'), 0.7, 'a sender that knows is believed');
});

t.test('/healthz tells what is wrong, and only then', async t => {
  const clock = new Clock();
  t.equal(clock.health(), 'not connected: not connected yet');
  clock.note(connected);
  t.equal(clock.health(), 'ok: replicating');
  clock.nowMs += 59_000;
  clock.note(commit);
  clock.nowMs += 59_000;
  t.equal(clock.health(), 'ok: replicating', 'a long first copy is well as long as it moves');
  clock.nowMs += 2000;
  t.equal(clock.health(), 'not in sync, and no commit for 1 min');
  clock.note(synced);
  clock.nowMs += 1e9;
  t.equal(clock.health(), 'ok: in sync');
  clock.note({ kind: 'source', state: 'gone', reason: 'its folder is missing' });
  t.equal(clock.health(), 'the source is gone: its folder is missing');
  t.equal(clock.value('source_up'), 0);
  clock.note({ kind: 'source', state: 'back', reason: 'it is there again' });
  t.equal(clock.health(), 'ok: in sync');
  clock.note({ kind: 'held', reason: 'the source is empty', count: 4 });
  t.equal(clock.health(), '4 deletes held: the source is empty');
  const error = new ReplicaError('ERR_SOCKET', 'connection reset');
  clock.note({ kind: 'released' }, { kind: 'disconnected', error, retryInMs: 1 });
  t.equal(clock.health(), 'not connected: connection reset');
  t.equal(clock.value('disconnects_total{code="ERR_SOCKET"}'), 1);
});

t.test('counts problems, drift and the rest, and escapes what others named', async t => {
  const clock = new Clock();
  const problem = (code: string): SenderEvent => ({
    kind: 'problem',
    problem: { path: 'a\n', code, message: 'no' },
  });
  clock.note(problem('EACCES'), problem('EACCES'), problem('EIO'), { kind: 'lost', count: 2 });
  clock.note(commit, { ...commit, ms: 70_000 }, { kind: 'connected', peer: 'a"\\\n\x1b[2J' });
  t.equal(clock.value('problems_total{code="EACCES"}'), 2);
  t.equal(clock.value('problems_total{code="EIO"}'), 1);
  t.equal(clock.value('drift_total'), 2);
  t.equal(clock.value('resent_files_total'), 2);
  t.equal(clock.value('commit_seconds_bucket{le="0.025"}'), 0);
  t.equal(clock.value('commit_seconds_bucket{le="0.05"}'), 1);
  t.equal(clock.value('commit_seconds_bucket{le="60"}'), 1);
  t.equal(clock.value('commit_seconds_bucket{le="+Inf"}'), 2);
  t.equal(clock.value('commit_seconds_sum'), 70.03);
  t.equal(clock.value('push_info{source="/s",peer="a\\"\\\\ [2J"}'), 1);
  for (let i = 0; i < 1000; i++) clock.note(problem(`E${i}`));
  t.ok(Number(clock.value('problems_total{code="other"}')) > 800, 'bounded, whatever comes');
  const figures = { ...noTotals(), watermark: 7, entries: 1, drift: 2, sweeps: 3 };
  const failed = { ...figures, hasSender: true, failure: 'no space left' };
  const receive = new ReceiveMetrics([{ name: '', root: '/d', figures: () => failed }]);
  t.same(receive.health(), { isHealthy: false, reason: 'commits fail: no space left' });
});

t.test('--metrics takes a port, or a host and a port', async t => {
  const parse = (value: string) => parseMetricsAddress({ value, origin: '--metrics' });
  t.same(parse('9464'), { host: '127.0.0.1', port: 9464 });
  t.same(parse('localhost:1'), { host: 'localhost', port: 1 });
  t.same(parse('[::]:9464'), { host: '::', port: 9464 });
  for (const value of ['', ':1', 'host', '::1:9464', '[x]:1', '1:70000', 'a b:1', 'http://a:1']) {
    t.throws(() => parse(value), { code: 'ERR_USAGE', message: /^--metrics: '.*' is no address/ });
  }
});

t.test('a port that is taken is one line and exit 10', async t => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const home = t.testdir({ src: {} });
  for (const command of [
    ['push', 'src', './dst'],
    ['receive', 'dst', '--insecure', '--port=0'],
  ]) {
    const env = { REPLICA_METRICS: `${port}` };
    const { code, stderr } = await runInProcess(command, { home, env });
    t.equal(code, 10);
    const last = stderr.trimEnd().split('\n').at(-1);
    const text = `replica: --metrics: cannot listen at 127.0.0.1:${port}: the port is in use: `;
    t.equal(last, `${text}stop the other program or choose another`);
  }
});

// In 30 s it would be sent away anyhow.
t.test('who says nothing is sent away in seconds', { timeout: 20_000 }, async t => {
  const metrics = { families: () => [], health: () => ({ isHealthy: true, state: 'ok' }) as const };
  const { log, lines } = collectingLog();
  await using _server = await MetricsServer.open({ host: '127.0.0.1', port: 0 }, { metrics, log });
  const port = Number(/:(\d+)\/metrics/.exec(lines.join())?.[1]);
  // As many as it serves at a time.
  const silent = Array.from({ length: 16 }, () => connect({ host: '127.0.0.1', port }).resume());
  t.teardown(() => {
    for (const socket of silent) socket.destroy();
  });
  await Promise.all(silent.map(socket => once(socket, 'close')));
  t.match(await get(`http://127.0.0.1:${port}/healthz`), { status: 200, body: 'ok\n' });
});
