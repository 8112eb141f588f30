// One receiver that holds several replicas by name, and its quota, as users type it.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { type CliResult, runInProcess, TextSink } from '../support/run-cli.ts';

interface Desk {
  readonly home: string;
  run(...argv: string[]): Promise<CliResult>;
  /** HOST:PORT of a receiver that runs until the test is over. */
  receive(...argv: string[]): Promise<string>;
  read(path: string): string;
}

function open(t: Test): Desk {
  const home = fs.realpathSync(makeDiskFolder(t));
  for (const name of ['docs', 'www']) {
    fs.mkdirSync(join(home, name));
    fs.writeFileSync(join(home, name, 'a'), name);
  }
  return {
    home,
    run: (...argv) => runInProcess(argv, { home }),
    receive: async (...argv) => {
      const stop = new AbortController();
      const stdout = new TextSink();
      const words = ['receive', ...argv, '--insecure', '--port', '0'];
      const ended = runInProcess(words, { home, signal: stop.signal, stdout });
      t.teardown(async () => {
        stop.abort();
        await ended;
      });
      while (!stdout.text.includes('\n')) {
        const early = await Promise.race([ended, new Promise(resolve => setImmediate(resolve))]);
        if (early !== undefined) throw new Error(JSON.stringify(early));
      }
      return stdout.text.trim().replace('listening on ', '');
    },
    read: path => fs.readFileSync(join(home, path), 'utf8'),
  };
}

t.test('each source goes to the replica that its target names', async t => {
  const desk = open(t);
  const { run } = desk;
  const place = await desk.receive('docs=copy-docs', 'www=copy-www');
  const push = (source: string, name: string, ...flags: string[]): Promise<CliResult> =>
    run('push', '--once', '--insecure', source, `replica://${place}${name}`, ...flags);
  for (const name of ['docs', 'www']) t.match(await push(name, `/${name}`), { code: 0 });
  t.equal(desk.read('copy-docs/a'), 'docs');
  t.equal(desk.read('copy-www/a'), 'www');
  const target = `replica://${place}/www`;
  fs.writeFileSync(join(desk.home, 'copy-www/a'), 'xyz');
  t.match(await run('verify', '--insecure', '--repair', 'www', target), { code: 0 });
  t.equal(desk.read('copy-www/a'), 'www');
  t.match(await push('docs', '/x'), {
    code: 3,
    stderr: /there is no replica 'x'; this receiver holds docs, www: give replica:\/\/host\/name/,
  });
  t.match(await push('docs', ''), { code: 3, stderr: /which replica\? this receiver holds docs/ });
  t.match(await run('log', 'copy-docs'), { code: 0, stdout: / 1 file a \(4 B\)\n$/ });
});

t.test('one may be without a name, and alone it has none', async t => {
  const desk = open(t);
  const push = (place: string): Promise<CliResult> =>
    desk.run('push', '--once', '--insecure', 'docs', place);
  const two = await desk.receive('www=copy-www', './copy');
  t.match(await push(two), { code: 0 });
  t.equal(desk.read('copy/a'), 'docs');
  const alone = await desk.receive('alone');
  t.match(await push(`replica://${alone}/docs`), {
    code: 3,
    stderr: /there is no replica 'docs': this receiver holds one, without a name/,
  });
  t.match(await push(`replica://${alone}`), { code: 0 });
});

t.test('names and folders that make no sense are refused before anything is made', async t => {
  const { home, run } = open(t);
  const rows: readonly (readonly [string[], number, RegExp])[] = [
    [['a=x', 'a=y'], 1, /<dst>: the name 'a' is given twice/],
    [['x', 'y'], 1, /<dst>: with several folders all but one need a name, as in docs=\/srv\/docs/],
    [['-a=x'], 1, /there is no flag -a=x for receive/],
    [['a b=x'], 1, /'a b=x': a name of letters/],
    [['a='], 1, /'a=': a name of letters/],
    [['=x'], 1, /'=x': a name of letters/],
    [['a=docs', 'b=docs/sub'], 1, /docs\/sub lies in .*docs, another of them/],
    [['a=docs', 'b=./docs'], 1, /<dst>: .*docs is given twice/],
    [['a=nowhere/x'], 3, /its parent folder does not exist/],
    [['--stdio', 'a=x'], 1, /--stdio: serves one folder without a name/],
  ];
  for (const [argv, code, stderr] of rows) {
    t.match(await run('receive', ...argv), { code, stderr }, argv.join(' '));
  }
  t.match(await run('push', 'docs', 'replica://host/a/b'), {
    code: 1,
    stderr: /'a\/b' is no name of a replica/,
  });
  t.notOk(fs.existsSync(join(home, 'docs/.replica')));
});

t.test('--quota: what fits flows, what does not is named, 23', async t => {
  const desk = open(t);
  const { home, run } = desk;
  const place = await desk.receive('copy', '--quota', '5M');
  fs.writeFileSync(join(home, 'docs/large'), Buffer.alloc(6_000_000, 'x'));
  const { code, stderr } = await run('push', '--once', '--insecure', 'docs', place);
  t.equal(code, 23);
  t.match(
    stderr,
    /large: no room for 6000000 bytes more: the receiver's --quota of 5242880 leaves/,
  );
  t.equal(desk.read('copy/a'), 'docs');
  t.notOk(fs.existsSync(join(home, 'copy/large')));
  t.match(await run('receive', 'copy', '--quota', 'much'), {
    code: 1,
    stderr: /--quota: 'much' is no size such as 500K/,
  });
});
