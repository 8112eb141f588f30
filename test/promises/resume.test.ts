// A large file that was cut short is not sent again: `node dist/bench/soak/resume.js` has 200 MiB.
import { tmpdir } from 'node:os';
import t, { type Test } from 'tap';
import { windowBytesMax } from '../../src/limits.ts';
import { makeDiskFolder, makeFolder } from '../support/folders.ts';
import { type Break, resumeStory } from '../support/resume-story.ts';
import { noSshd, Sshd } from '../support/sshd.ts';

const sizeMb = 24;

async function tell(t: Test, how: Break, sshd?: Sshd): Promise<void> {
  const outcome = await resumeStory({ folder: makeDiskFolder(t), sizeMb, how, sshd });
  t.comment(JSON.stringify(outcome));
  // What was under way is lost, and at most 1% goes for block ids, references and a second hello.
  const allowed = 1.01 * sizeMb * 1024 * 1024 + windowBytesMax;
  t.ok(outcome.bytesUp + outcome.bytesDown <= allowed, `${outcome.ratio} times the file`);
}

void t.test('the connection is cut', t => tell(t, 'cut'));
void t.test('receive is killed', t => tell(t, 'kill receive'));
void t.test('push is killed', t => tell(t, 'kill push'));
void t.test('the connection of an ssh is cut', { skip: noSshd() }, async t => {
  const sshd = await Sshd.open(makeFolder(t, tmpdir()));
  t.teardown(() => sshd.close());
  await tell(t, 'cut', sshd);
});
