import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openLog } from '../../src/cli/logging.ts';
import { TextSink } from '../support/run-cli.ts';

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
