import { once } from 'node:events';
import { chmodSync, lstatSync, mkdirSync, readdirSync, realpathSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { judgeClock, judgeOpenFiles } from '../../src/cli/doctor-machine.ts';
import {
  examineSource,
  judgeGranularity,
  judgeSourceClock,
  measureFolderTimes,
} from '../../src/cli/doctor-source.ts';
import { examineTarget } from '../../src/cli/doctor-target.ts';
import { formatFinding } from '../../src/cli/finding.ts';
import { findMount, judgeVisibility, parseMountInfo } from '../../src/cli/mount-table.ts';
import { hasFuse, isRoot, mountFuse, mountReflinks, mountTmpfs } from '../support/mounts.ts';
import { CliProcess, runInProcess, TextSink } from '../support/run-cli.ts';
import { until } from '../support/until.ts';

interface Examined {
  readonly code: number | null;
  readonly stdout: string;
  /** By check: 'ok', 'warn' or 'bad'. */
  readonly levels: ReadonlyMap<string, string>;
}

async function examine(t: Test, home: string, ...argv: string[]): Promise<Examined> {
  const { code, stdout, stderr } = await runInProcess(['doctor', ...argv], { home });
  t.equal(stderr, '');
  const levels = new Map<string, string>();
  for (const line of stdout.trimEnd().split('\n')) {
    const [, level = '', check = ''] = /^(ok|warn|bad) +(\S+(?: \S+)*?) {2,}\S/.exec(line) ?? [];
    t.not(level, '', line);
    levels.set(check, level);
  }
  return { code, stdout, levels };
}

t.test('without arguments: this machine', async t => {
  const { code, levels } = await examine(t, t.testdir());
  t.equal(code, 0);
  t.same([...levels.keys()], ['clock', 'open files', 'inotify', 'state', 'state space']);
});

t.test('the source is only read, unless asked to write, and then left as it was', async t => {
  const home = t.testdir({ src: { a: 'x', sub: { b: 'y' } } });
  const source = join(home, 'src');
  const before = lstatSync(source, { bigint: true });
  const { code, levels } = await examine(t, home, 'src', './dst');
  t.equal(code, 0);
  t.equal(lstatSync(source, { bigint: true }).ctimeNs, before.ctimeNs);
  t.same(readdirSync(home).sort(), ['src'], 'the destination is not made');
  for (const check of ['source', 'source clock', 'destination']) t.equal(levels.get(check), 'ok');
  t.notOk(levels.has('own changes'));

  const written = await examine(t, home, '--write-test', 'src', './dst');
  t.equal(written.code, 0);
  for (const check of ['own changes', 'folder times', 'server clock', 'reflinks']) {
    t.equal(written.levels.get(check), 'ok', check);
  }
  t.match(written.stdout, /^ok +folder times +they move/m);
  t.same(readdirSync(source).sort(), ['a', 'sub']);
  t.same(readdirSync(home).sort(), ['src']);
  mkdirSync(join(source, '.replica'));
  writeFileSync(join(source, '.replica/mine'), '');
  await examine(t, home, '--write-test', 'src');
  t.same(readdirSync(join(source, '.replica')), ['mine'], 'what was there stays');
});

t.test('kinds of file systems', { skip: isRoot ? false : 'only root may mount' }, async t => {
  const home = t.testdir({ src: {} });
  const memory = mountTmpfs(t, '1m');
  const small = await examine(
    t,
    home,
    '--state',
    join(memory, 'state'),
    'src',
    join(memory, 'dst'),
  );
  t.equal(small.code, 0);
  t.match(small.stdout, /^warn +state +.* is in memory and lost at a restart/m);
  t.match(small.stdout, /^warn +free space +1\.0\d MB free .*commits fail when it is full/m);
  const reflinks = mountReflinks(t);
  if ('folder' in reflinks) {
    const xfs = await examine(t, home, '--write-test', 'src', reflinks.folder);
    t.match(xfs.stdout, /^ok +reflinks +a large file that changes shares what stays/m);
    t.same(readdirSync(reflinks.folder), [], 'nothing is left over');
  }
  if (!hasFuse()) return;
  const { folder } = await mountFuse(t);
  const network = await examine(t, home, '--state', join(folder, 's'), folder, join(folder, 'd'));
  t.equal(network.code, 3);
  t.match(network.stdout, /^bad +state +.* is on a network file system, where LMDB is not safe/m);
  t.match(network.stdout, /^warn +visibility +fuse/m);
  const target = await examine(t, home, 'src', join(folder, 'd'));
  t.match(
    target.stdout,
    /^bad +destination +.*its state cannot lie; run 'replica receive --state/m,
  );
});

t.test('a source that hangs is told of, and not waited for', async t => {
  const never = () => new Promise(() => {});
  const own = { writes: true, nowMs: Date.now, list: never, answerMs: 5 };
  const found = [];
  for await (const one of examineSource(t.testdir(), own)) found.push(one);
  t.match(found, [{ check: 'source', level: 'bad', exitCode: 3, message: /: no answer from its/ }]);
  t.equal(found.length, 1, 'nothing else is asked of it');
});

t.test('a folder whose times do not move is told of', async t => {
  const still = () => ({ mtimeNs: 1n, ctimeNs: 1n });
  t.match(await measureFolderTimes(t.testdir(), still), {
    level: 'warn',
    message: /do not move .* at: create, rename, replace, delete$/,
  });
});

t.test('what would fail is bad, with the exit code that push would end with', async t => {
  const home = t.testdir({ src: {}, file: '' });
  const at = (path: string) => join(realpathSync(home), path);
  const rows: [string[], number, string][] = [
    [['nope'], 3, `bad   source        source ${join(home, 'nope')} does not exist`],
    [
      ['src', './src/in'],
      3,
      `bad   destination   destination ${at('src/in')} is inside the source`,
    ],
    [
      ['src', './no/dst'],
      3,
      `bad   destination   ${at('no/dst')} cannot be made: its parent folder`,
    ],
    [['src', '127.0.0.1:1'], 5, 'bad   key           no key for 127.0.0.1:1: run '],
    [['src', '127.0.0.1:1', '--insecure'], 10, 'bad   network       127.0.0.1:1: nobody listens'],
  ];
  for (const [argv, code, text] of rows) {
    const examined = await examine(t, home, ...argv);
    t.equal(examined.code, code, argv.join(' '));
    t.ok(examined.stdout.includes(`\n${text}`), `${text}\n${examined.stdout}`);
  }
});

t.test('a folder that push would refuse, or another source has, is bad', async t => {
  const home = realpathSync(
    t.testdir({ src: { a: 'x' }, other: { b: 'y' }, full: { old: 'z' }, empty: {} }),
  );
  const push = async (source: string, ...more: string[]) =>
    await runInProcess(['push', '--once', source, './full', ...more], { home });
  const finding = async (...argv: string[]) => {
    const { code, stdout } = await examine(t, home, ...argv);
    const line = stdout.split('\n').find(one => /^\S+ +replica /.test(one)) ?? '';
    return { code, line };
  };
  t.match(await finding('src', './empty'), {
    code: 0,
    line: /^ok .* is empty: it becomes a replica$/,
  });
  t.equal((await push('src')).code, 3);
  t.match(await finding('src', './full'), { code: 3, line: /^bad .*full is not empty; .*--adopt/ });
  t.match(await finding('src', './full', '--adopt'), {
    code: 0,
    line: /^ok .*taken over by --adopt$/,
  });
  t.equal((await push('src', '--adopt')).code, 0);
  const mine = `testhost:${join(home, 'src')}`;
  t.match(await finding('src', './full'), {
    code: 0,
    line: `ok    replica       it belongs to ${mine}`,
  });
  t.equal((await push('other')).code, 3);
  t.match(await finding('other', './full'), {
    code: 3,
    line: `bad   replica       it belongs to ${mine}; choose another folder, or 'push --take-over' to replace that source by this one`,
  });
  t.match(await finding('other', './full', '--take-over'), {
    code: 0,
    line: /^ok .*, and is taken over by --take-over$/,
  });
  // What it looked at is as it was.
  t.equal((await push('src')).code, 0);

  const running = new CliProcess(['push', 'src', './full'], { home });
  t.teardown(() => running.stop());
  await running.until(one => one.stderr.includes('in sync'));
  t.match(await finding('src', './full'), { code: 0, line: /^warn .* is running \(pid \d+\)/ });
  t.match(await finding('src', 'ssh://backup/srv/x'), { code: 0, line: '' });
  t.match(
    (await examine(t, home, 'src', 'ssh://backup/srv/x')).stdout,
    /^warn {2}network .* was not looked at/m,
  );
});

t.test(
  'a folder that cannot be read or written is told of',
  {
    skip: process.geteuid?.() === 0 ? 'root may do everything' : false,
  },
  async t => {
    const home = t.testdir({ src: { shut: {} }, dst: {}, '.local': { state: { replica: {} } } });
    const shut = ['src/shut', 'dst', '.local/state/replica'].map(path => join(home, path));
    for (const path of shut) chmodSync(path, 0o000);
    const { code, stdout, levels } = await examine(t, home, 'src', './dst');
    for (const path of shut) chmodSync(path, 0o700);
    t.equal(code, 11);
    t.match(stdout, /1 folder cannot be read/);
    t.equal(levels.get('source'), 'warn');
    t.equal(levels.get('state'), 'bad');
    t.equal(levels.get('destination'), 'bad');
  },
);

t.test('a receiver: the way there, and whether it takes the key', async t => {
  const both = t.testdir({ one: { src: {} }, two: {} });
  const [home, other] = [join(both, 'one'), join(both, 'two')];
  const stop = new AbortController();
  const stdout = new TextSink();
  const flags = ['--host', '127.0.0.1', '--port', '0'];
  const { signal } = stop;
  const running = runInProcess(['receive', 'dst', ...flags], { home, stdout, signal });
  t.teardown(() => {
    stop.abort();
    return running;
  });
  const listening = /^listening on (.*)$/m;
  await until(() => listening.test(stdout.text), 'listening');
  const address = listening.exec(stdout.text)?.[1] ?? '';
  const good = await examine(t, home, 'src', address);
  t.equal(good.code, 0);
  t.match(good.stdout, /^ok +network +127\.0\.0\.1:\d+ answers, round trip \d+\.\d ms$/m);
  t.match(good.stdout, /^ok +session +the receiver accepts the key, after \d/m);

  const { stdout: key } = await runInProcess(['key', 'new'], { home: other });
  const paired = await runInProcess(['pair', address], { home: other, stdin: key });
  t.equal(paired.code, 0);
  const wrong = await examine(t, other, '.', address);
  t.equal(wrong.code, 5);
  t.match(wrong.stdout, /^bad +session +.*; run 'replica key show' there and 'replica pair/m);
});

t.test('a receiver that says nothing is waited for as long as --timeout says', async t => {
  const home = t.testdir({ src: {}, key: '' });
  const server = createServer(() => {}).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const place = `127.0.0.1:${(server.address() as AddressInfo).port}`; // It listens on a port.
  const silent = await examine(t, home, 'src', place, '--insecure', '--timeout', '200');
  t.match(silent.stdout, /^bad +session +127\.0\.0\.1:\d+ sent no greeting within 200 ms/m);
  const keyless = await examine(t, home, 'src', place, '--key-file', 'key');
  t.match(keyless.stdout, /^bad +key +.*key/m);
  t.equal(keyless.code, 5);
});

t.test('a name that leads nowhere, and a resolver that does not answer', async t => {
  for (const [code, message] of [
    ['ENOTFOUND', 'there is no host backup'],
    ['EAI_AGAIN', 'backup cannot be looked up (EAI_AGAIN)'],
  ] as const) {
    const findings = examineTarget({
      host: 'backup',
      port: 1,
      findKey: undefined,
      hint: '',
      findAddresses: () => Promise.reject(Object.assign(new Error(code), { code })),
      dial: () => Promise.reject(new Error('not in this test')),
      timeoutMs: 1000,
      signal: new AbortController().signal,
    });
    const found = [];
    for await (const one of findings) found.push(one);
    t.match(found[0], { check: 'name', level: 'bad', message, exitCode: 10 });
    t.same(
      found.map(one => one.check),
      ['name', 'key'],
      'nothing is dialled',
    );
  }
});

t.test('--json is a line for each finding, without control characters', async t => {
  const home = t.testdir({ 'a\x1b[2J': {} });
  const { code, stdout } = await runInProcess(['doctor', '--json', 'a\x1b[2J'], { home });
  t.equal(code, 0);
  const findings = stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
  for (const one of findings) {
    t.match(one, { level: /^(ok|warn)$/, check: String, message: String });
    t.notMatch(one.message, /\x1b/);
  }
  t.ok(findings.some(one => one.check === 'source'));
  const text = formatFinding({ check: 'a', level: 'warn', message: 'm\x1b', advice: 'do' });
  t.equal(text, 'warn  a             m ; do');
});

const mountInfo = String.raw`
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:31 / /a\040b rw - nfs4 s:/x rw,vers=4.2,acregmin=3
31 22 0:32 / /quick rw - nfs4 s:/x rw,acregmax=1,acdirmax=1
32 22 0:33 / /off rw - nfs s:/x rw,noac
33 22 0:34 / /p9 rw - 9p host rw,cache=loose
34 22 0:35 / /p9n rw - 9p host rw,cache=none
35 22 0:36 / /smb rw - cifs //s/x rw,actimeo=30
36 22 0:37 / /fuse rw - fuse.sshfs u@s: rw
37 22 0:38 / /merged rw - overlay overlay rw,lowerdir=/l
38 22 0:39 / /twice rw - nfs4 s:/x rw
39 38 0:40 / /twice rw - tmpfs tmpfs rw
`;

t.test('the mount says how late changes made elsewhere are seen', async t => {
  const mounts = parseMountInfo(mountInfo);
  const rows: [string, string, RegExp][] = [
    ['/home/x', 'ok', /^ext4: /],
    ['/a b/deep', 'warn', /^nfs4: edits .* 60 s late, new names 60 s$/],
    ['/quick', 'ok', /1 s late, new names 1 s$/],
    ['/off', 'ok', /^nfs with noac/],
    ['/p9', 'warn', /cache=loose: .* never/],
    ['/p9n/x', 'ok', /^9p without a cache/],
    ['/smb', 'warn', /30 s late$/],
    ['/fuse', 'warn', /^fuse\.sshfs: /],
    ['/merged/x', 'warn', /^overlay: /],
    ['/twice/x', 'ok', /^tmpfs: /],
    ['/quicker', 'ok', /^ext4: /],
  ];
  for (const [path, level, message] of rows) {
    const mount = findMount(mounts, path);
    t.match(mount && judgeVisibility(mount), { level, message }, path);
  }
});

t.test('times, clocks and limits', async t => {
  const times = (step: bigint) => ({
    changeTimesNs: [1n, 3n, 4n, 7n, 8n, 11n].map(n => 1_700_000_000_000_000_000n + n * step),
  });
  t.match(judgeGranularity(times(1n)), { level: 'ok', message: /as fine as a nanosecond/ });
  t.match(judgeGranularity(times(1000n)), { level: 'ok', message: /as fine as 1 µs/ });
  t.match(judgeGranularity(times(1_000_000_000n)), { level: 'warn', message: /steps of 1 s:/ });
  t.match(judgeGranularity(times(2_000_000_000n)), { level: 'warn', message: /steps of 2 s:/ });
  t.match(judgeGranularity({ changeTimesNs: [0n, 0n] }), { level: 'ok', message: /too few/ });
  const nowMs = 1_700_000_000_000;
  t.match(judgeSourceClock(times(1n), nowMs), { level: 'ok' });
  t.match(judgeSourceClock(times(1_000_000_000n), nowMs), {
    level: 'warn',
    message: /11 s in the f/,
  });
  t.match(judgeClock(0), { level: 'warn', message: /^it is 1970-/ });
  t.match(judgeClock(Date.UTC(2026, 1)), { level: 'ok' });
  const limits = (hard: string) =>
    `Limit  Soft  Hard\nMax open files            256    ${hard}    files`;
  t.match(judgeOpenFiles(limits('512')), { level: 'warn', message: /^only 512 / });
  t.match(judgeOpenFiles(limits('4096')), { level: 'ok', message: 'up to 4096' });
  t.match(judgeOpenFiles(limits('unlimited')), { level: 'ok' });
});
