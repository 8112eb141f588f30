import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type LogFormat, openLog } from '../../src/cli/logging.ts';
import { isRoot, mountTmpfs } from '../support/mounts.ts';
import { mainFile, TextSink } from '../support/run-cli.ts';
import { place } from '../support/stage.ts';
import { until } from '../support/until.ts';

t.test('the log file is appended to, and opened anew after a rotation', async t => {
  const folder = t.testdir({ log: 'before\n' });
  const logFile = join(folder, 'log');
  const stderr = new TextSink();
  const open = await openLog({ stderr, isTerminal: false, colors: false, verbosity: 0, logFile });
  open.log.info({ n: 1 }, 'one');
  renameSync(logFile, `${logFile}.1`);
  open.log.info({}, 'two');
  open.reopen();
  open.log.info({}, 'three');
  open.close();
  const messages = (path: string): unknown[] =>
    readFileSync(path, 'utf8')
      .split('\n')
      .filter(line => line.startsWith('{'))
      .map(line => JSON.parse(line).msg);
  t.match(readFileSync(`${logFile}.1`, 'utf8'), /^before\n\{/);
  t.same(messages(`${logFile}.1`), ['one', 'two']);
  t.same(messages(logFile), ['three']);
  t.equal(stderr.text.split('\n').length, 4, 'stderr has them all');
});

t.test('debug lines come with --verbose only', async t => {
  for (const verbosity of [0, 1]) {
    const stderr = new TextSink();
    const { log } = await openLog({
      stderr,
      isTerminal: true,
      colors: false,
      verbosity,
      logFile: undefined,
    });
    log.debug({}, 'detail');
    t.equal(stderr.text.includes('detail'), verbosity > 0);
  }
});

t.test('sentences off a terminal have the day, JSON lines on one have none of it', async t => {
  const logged = async (isTerminal: boolean, format: LogFormat): Promise<string> => {
    const stderr = new TextSink();
    const options = { stderr, isTerminal, colors: false, verbosity: 0, logFile: undefined };
    (await openLog({ ...options, format })).log.info({ n: 1 }, 'one');
    return stderr.text;
  };
  const isJson = /^\{"level":"info",.*"n":1,"msg":"one"\}\n$/;
  t.match(await logged(false, 'auto'), isJson);
  t.match(await logged(false, 'json'), isJson);
  t.match(await logged(false, 'pretty'), /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] INFO: one\n$/);
  t.match(await logged(true, 'auto'), /^\[\d\d:\d\d:\d\d\] INFO: one\n$/);
  t.match(await logged(true, 'pretty'), /^\[\d\d:\d\d:\d\d\] INFO: one\n$/);
  t.match(await logged(true, 'json'), isJson);
});

t.test('quiet: warnings and errors, while the log file has everything', async t => {
  const logFile = join(t.testdir(), 'log');
  const stderr = new TextSink();
  const options = { stderr, isTerminal: true, colors: false, logFile };
  const { log, close } = await openLog({ ...options, verbosity: 1, isQuiet: true });
  log.debug({}, 'detail');
  log.info({}, 'news');
  log.warn({}, 'odd');
  log.error({}, 'bad');
  close();
  t.match(stderr.text, /^\[..:..:..\] WARN: odd\n\[..:..:..\] ERROR: bad\n$/);
  t.equal(readFileSync(logFile, 'utf8').split('\n').length, 5);
});

t.test('no control character of a message reaches a terminal', async t => {
  const stderr = new TextSink();
  const { log } = await openLog({
    stderr,
    isTerminal: true,
    colors: false,
    verbosity: 0,
    logFile: undefined,
  });
  log.warn({ path: 'x\x1b[31m' }, 'a\x1b[2J\nb\u202ec\x07');
  t.match(stderr.text, /^\[..:..:..\] WARN: a \[2J b c\n$/);
});

t.test('an unusable log file is named', async t => {
  const folder = t.testdir();
  const options = { stderr: new TextSink(), isTerminal: false, colors: false, verbosity: 0 };
  await t.rejects(openLog({ ...options, logFile: folder }), {
    code: 'ERR_PATH',
    message: `cannot open the log file ${folder} (EISDIR)`,
  });
});

t.test('a log file that cannot be opened anew goes on where it is', async t => {
  const folder = t.testdir({ logs: {} });
  const logFile = join(folder, 'logs/log');
  const stderr = new TextSink();
  const open = await openLog({ stderr, isTerminal: false, colors: false, verbosity: 0, logFile });
  renameSync(join(folder, 'logs'), join(folder, 'old'));
  open.reopen();
  open.log.info({}, 'after');
  open.close();
  const lines = readFileSync(join(folder, 'old/log'), 'utf8');
  t.match(lines, /"msg":"cannot open the log file [^"]*log \(ENOENT\): it goes on in the file/);
  t.match(lines, /"msg":"after"/);
});

t.test(
  'a line that a full disk cut off spoils no other',
  { skip: !isRoot && 'root mounts' },
  async t => {
    const folder = mountTmpfs(t, '64k');
    const logFile = join(folder, 'log');
    const filler = join(folder, 'filler');
    const stderr = new TextSink();
    const open = await openLog({ stderr, isTerminal: false, colors: false, verbosity: 0, logFile });
    writeFileSync(filler, '');
    t.throws(() => writeFileSync(filler, Buffer.alloc(128 * 1024)), { code: 'ENOSPC' });
    truncateSync(filler, 16 * 1024);
    for (let n = 0; n < 1000; n++) open.log.info({ n }, 'x'.repeat(n % 100));
    rmSync(filler);
    open.log.info({}, 'room again');
    open.log.info({}, 'last');
    open.close();
    const lines = readFileSync(logFile, 'utf8').split('\n').slice(0, -1);
    t.match(JSON.parse(lines.at(-2) ?? ''), { msg: 'room again' });
    t.match(JSON.parse(lines.at(-1) ?? ''), { msg: 'last' });
    const torn = lines.filter(line => !line.endsWith('}'));
    t.ok(lines.length > 100 && torn.length <= 1, `${torn.length} of ${lines.length}`);
  },
);

t.test('a push outlives a full disk below its stderr', async t => {
  const home = place(t);
  const full = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(full));
  const argv = [mainFile, 'push', 'src', './dst', '--log-file', 'log', '--interval', '50'];
  const child = spawn(process.execPath, argv, {
    cwd: home,
    env: { PATH: process.env.PATH, HOME: home },
    stdio: ['ignore', 'ignore', full],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  const file = join(home, 'log');
  await until(() => existsSync(file) && readFileSync(file, 'utf8').includes('in sync'));
  writeFileSync(join(home, 'src/new'), 'x');
  await until(() => existsSync(join(home, 'dst/new')));
  child.kill('SIGTERM');
  t.same(await ended, [0, null]);
});

t.test('output that does not arrive is said in one line, with code 11', async t => {
  const home = t.testdir();
  const full = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(full));
  const child = spawn(process.execPath, [mainFile, '--help'], {
    env: { PATH: process.env.PATH, HOME: home },
    stdio: ['ignore', full, 'pipe'],
  });
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  const [code] = await once(child, 'close');
  t.equal(code, 11);
  t.equal(stderr, 'replica: cannot write to standard output (ENOSPC)\n');
});

t.test('a receiver on pipes that nobody reads ends without a stack trace', async t => {
  const home = place(t);
  const child = spawn(process.execPath, [mainFile, 'receive', '--stdio', './dst'], {
    cwd: home,
    env: { PATH: process.env.PATH, HOME: home },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  child.stdout.destroy();
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  const [code] = await once(child, 'close');
  t.equal(code, 0);
  t.match(stderr, /connection to stdin lost \(EPIPE\)/);
  t.notMatch(stderr, /\n\s+at /);
});
