// `replica log`, as users type it.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { runInProcess } from '../support/run-cli.ts';

t.test('what was done at a replica, in all and of one path', async t => {
  const home = makeDiskFolder(t);
  const run = (...argv: string[]) => runInProcess(argv, { home });
  const push = async (...flags: string[]): Promise<void> => {
    t.match(await run('push', '--once', ...flags, 'site', './copy'), { code: 0 });
  };
  fs.mkdirSync(join(home, 'site/docs'), { recursive: true });
  fs.writeFileSync(join(home, 'site/docs/plan.txt'), 'one');
  fs.writeFileSync(join(home, 'site/bell\x07'), '');
  await push();
  fs.writeFileSync(join(home, 'site/docs/plan.txt'), 'two!');
  await push();
  fs.renameSync(join(home, 'site/docs'), join(home, 'site/papers'));
  await push();
  fs.rmSync(join(home, 'site/bell\x07'));
  await push('--max-delete', '100');
  const all = await run('log', 'copy');
  t.equal(all.code, 0, all.stderr);
  const time = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d';
  t.match(all.stdout, new RegExp(`^${time} 1 directory docs$`, 'm'));
  t.match(all.stdout, new RegExp(`^${time} 1 file bell\\\\x07 \\(0 B\\)$`, 'm'), 'escaped');
  t.match(all.stdout, new RegExp(`^${time} \\d rename docs -> papers$`, 'm'));
  t.match(all.stdout, /^.* remove bell\\x07\n/m);
  const one = await run('log', 'copy', './docs//plan.txt');
  t.match(one.stdout.replaceAll(new RegExp(`^${time} `, 'gm'), '').split('\n'), [
    '1 file docs/plan.txt (3 B)',
    /^\d file docs\/plan.txt \(4 B\)$/,
    /^\d rename docs -> papers$/,
    '',
  ]);
  const json = await run('log', '--json', join(home, 'copy'), join(home, 'copy/papers'));
  t.match(
    json.stdout
      .split('\n')
      .slice(0, 1)
      .map(line => JSON.parse(line)),
    [{ time: /^\d{4}-.*Z$/, commit: /^\d$/, kind: 'rename', path: 'papers', from: 'docs' }],
  );
  t.same(await run('log', 'copy', '--since', '0'), { code: 0, stdout: '', stderr: '' });
  t.equal((await run('log', 'copy', '--since', '1h')).stdout, all.stdout);
});

t.test('the state elsewhere, no replica, a path outside, a wrong time', async t => {
  const home = makeDiskFolder(t);
  const run = (...argv: string[]) => runInProcess(argv, { home });
  fs.mkdirSync(join(home, 'copy'));
  const absent =
    /^replica: there is no replica at .*copy, or its state is elsewhere: give the receiver's --state\n$/;
  t.match(await run('log', 'copy'), { code: 3, stderr: absent });
  t.match(await run('log', 'nowhere'), { code: 3, stderr: /there is no replica at/ });
  const stop = new AbortController();
  const receiving = runInProcess(['receive', 'copy', '--state', 'states', '--stdio'], {
    home,
    signal: stop.signal,
    stdin: '',
  });
  t.match(await receiving, { code: 0 });
  t.match(await run('log', 'copy'), { code: 3, stderr: absent });
  t.same(await run('log', 'copy', '--state', 'states'), { code: 0, stdout: '', stderr: '' });
  t.match(await run('log', 'copy', '--state', 'states', '../x'), {
    code: 1,
    stderr: /'..\/x' is not below .*copy: give a path in it/,
  });
  t.match(await run('log', 'copy', '--since', 'monday'), { code: 1, stderr: /is not a duration/ });
});
