// The first commands on a new machine, as the README has them.
import fs from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { untilEqual } from '../support/live-pair.ts';
import { Home } from '../support/programs.ts';
import { runInProcess } from '../support/run-cli.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise(resolve => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

t.test('receive and push may be started at once: the key is made meanwhile', async t => {
  const folder = makeDiskFolder(t);
  const home = new Home(join(folder, 'home'));
  const [source, target] = [join(folder, 'project'), join(folder, 'copy')];
  fs.mkdirSync(source);
  fs.writeFileSync(join(source, 'file'), 'content');
  const port = await freePort();
  const push = home.push(source, `localhost:${port}`, ['--interval', '100']);
  const receive = home.run(['receive', target, '--host', '127.0.0.1', '--port', String(port)]);
  t.teardown(async () => {
    await push.stop('SIGKILL');
    await receive.stop('SIGKILL');
  });
  await receive.line(/^listening on /);
  t.ok((await untilEqual(source, target, 20_000, () => push.lines)) >= 0);
});

t.test('--dry-run refuses what would change whose the replica is', async t => {
  const folder = t.testdir({ project: { file: 'x' }, copy: { precious: 'y' } });
  for (const flag of ['--adopt', '--take-over']) {
    const argv = ['push', '-n', flag, 'project', './copy'];
    const { code, stderr } = await runInProcess(argv, { home: folder });
    t.equal(code, 1);
    t.match(
      stderr,
      new RegExp(`^replica: ${flag}: changes what the replica is; not with --dry-run`),
    );
    t.strictSame(fs.readdirSync(join(folder, 'copy')), ['precious']);
  }
});
