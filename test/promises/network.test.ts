// A bad network with few connections; `node dist/bench/soak/network.js` has many.
import { tmpdir } from 'node:os';
import t, { type Test } from 'tap';
import { makeFolder } from '../support/folders.ts';
import { type NetworkOptions, networkStory, spoilings } from '../support/network-story.ts';
import { ownShare } from '../support/seeds.ts';
import { noSshd, Sshd } from '../support/sshd.ts';

async function tell(t: Test, options: Omit<NetworkOptions, 'folder' | 'timeoutMs'>): Promise<void> {
  const outcome = await networkStory({ ...options, folder: t.testdir(), timeoutMs: 40_000 });
  t.comment(JSON.stringify({ ...outcome, watched: { ...outcome.watched, violations: undefined } }));
  t.strictSame(outcome.watched.violations, [], 'no reader saw anything torn, missing or foreign');
  t.strictSame(outcome.drift, [], 'nothing is called drift');
  t.strictSame(outcome.complaints, [], 'both go on');
  t.ok(outcome.connections > options.count, 'it connected again each time');
  t.strictSame(outcome.differences, [], 'the trees are equal in the end');
}

const stories = [
  {
    name: 'connections are cut at random offsets',
    options: { seed: 1, insecure: false, kinds: ['cut'], count: 5 },
  },
  {
    name: 'bits flip under TLS',
    options: { seed: 2, insecure: false, kinds: ['flip', 'flip answer'], count: 5 },
  },
  {
    name: 'bits flip in plaintext frames',
    options: { seed: 3, insecure: true, kinds: ['flip', 'flip answer'], count: 5 },
  },
  {
    name: 'plaintext connections are cut at random offsets',
    options: { seed: 4, insecure: true, kinds: ['cut'], count: 5 },
  },
] as const;

for (const { name, options } of ownShare(stories)) {
  t.test(`${name} (seed ${options.seed})`, t => tell(t, options));
}

t.test('an ssh is cut, has bits flipped, and is killed (seed 5)', { skip: noSshd() }, async t => {
  const sshd = await Sshd.open(makeFolder(t, tmpdir()));
  t.teardown(() => sshd.close());
  await tell(t, { seed: 5, insecure: false, kinds: spoilings, count: 3, sshd });
});
