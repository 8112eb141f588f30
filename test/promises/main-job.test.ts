// A slice of bench/soak/main-job.ts: real packages, with their links, some 700 files.
import { transports } from '../support/fake-ssh.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { runMainJob } from '../support/main-job.ts';

const each = inTurn(transports);

each('packages replicate while they are removed, rewritten and installed', async (t, transport) => {
  await runMainJob({
    packages: 'node_modules',
    names: [
      '.bin',
      'lmdb',
      'pino',
      'pino-pretty',
      'ignore',
      'clipanion',
      'typanion',
      'assemblyscript',
      'undici-types',
    ],
    folder: makeDiskFolder(t),
    seed: 1,
    transport,
    limitMs: 120_000,
    say: line => t.comment(line),
  });
  t.pass('both independent comparisons print nothing after each');
});
