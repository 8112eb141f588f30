// P5: a source that vanished, emptied or cannot be listed deletes nothing, says why, and goes on by
// itself when it is back. Mounts: vanished-mount.test.ts.
import fs from 'node:fs';
import { join } from 'node:path';
import { transports } from '../support/fake-ssh.ts';
import { isPrivileged, makeDiskFolder } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { LivePair } from '../support/live-pair.ts';
import { ownShare } from '../support/seeds.ts';
import {
  away,
  inSync,
  severalSweeps,
  type Vanishing,
  vanishAndComeBack,
} from '../support/vanishing.ts';

/** In place of t.test. */
const each = inTurn(transports);

const cases: readonly Vanishing[] = [
  {
    name: 'renamed away',
    vanish: (_, pair) => fs.renameSync(pair.source, away(pair)),
    comeBack: pair => fs.renameSync(away(pair), pair.source),
    reason: /it is not there/,
    code: 3,
  },
  {
    name: 'emptied',
    vanish: (_, pair) => {
      fs.mkdirSync(away(pair));
      for (const name of fs.readdirSync(pair.source)) {
        fs.renameSync(join(pair.source, name), join(away(pair), name));
      }
    },
    comeBack: pair => {
      for (const name of fs.readdirSync(away(pair))) {
        fs.renameSync(join(away(pair), name), join(pair.source, name));
      }
    },
    reason: /deletes held: the source is empty/,
    code: 25,
  },
  {
    name: 'another, empty directory in its place',
    vanish: (_, pair) => {
      fs.renameSync(pair.source, away(pair));
      fs.mkdirSync(pair.source);
    },
    comeBack: pair => {
      fs.rmdirSync(pair.source);
      fs.renameSync(away(pair), pair.source);
    },
    reason: /another directory is in its place/,
    code: 3,
  },
  {
    name: 'replaced by a file',
    vanish: (_, pair) => {
      fs.renameSync(pair.source, away(pair));
      fs.writeFileSync(pair.source, 'no directory');
    },
    comeBack: pair => {
      fs.rmSync(pair.source);
      fs.renameSync(away(pair), pair.source);
    },
    reason: /it is not a directory/,
    code: 3,
  },
];

for (const one of ownShare(cases)) {
  each(`deletes nothing: ${one.name}`, (t, transport) => vanishAndComeBack(t, transport, one));
}

each(
  'a directory that cannot be listed deletes nothing',
  { skip: isPrivileged && 'root lists everything' },
  async (t, transport) => {
    const { pair, unchanged } = await inSync(t, transport);
    const folder = join(pair.source, 'folder');
    fs.chmodSync(folder, 0o000);
    t.match(await pair.push?.line(/cannot be listed/), /folder/);
    await severalSweeps();
    // Its own mode may follow; what is in it stays.
    fs.chmodSync(join(pair.target, 'folder'), 0o755);
    t.strictSame(
      unchanged().filter(line => !/"folder" (mode|mtimeUs)/.test(line)),
      [],
    );
    fs.chmodSync(folder, 0o755);
    await pair.equal();
    t.pass('replication resumes by itself');
  },
);

each('a source that was never there', async (t, transport) => {
  const pair = new LivePair({ folder: makeDiskFolder(t), transport });
  t.teardown(() => pair.kill());
  await pair.startReceive();
  fs.rmdirSync(pair.source);
  const once = await pair.once();
  t.equal(once.code, 3);
  t.match(once.lines.at(-1), /source/);
});
