// A slice of the fuzzing; `node dist/bench/soak/fuzz.js` has as much as you like, and repeats a seed.
import t from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { fuzzCodec, fuzzDecoder, fuzzReceiver } from '../support/fuzz.ts';
import { ownSeeds } from '../support/seeds.ts';

t.test('damaged payloads and streams', async t => {
  for (const seed of ownSeeds(10)) {
    t.doesNotThrow(() => fuzzCodec(seed, 1000), `seed ${seed}`);
    t.doesNotThrow(() => fuzzDecoder(seed, 100), `seed ${seed}`);
  }
});

for (const seed of ownSeeds(4)) {
  t.test(`sessions with a receiver (seed ${seed})`, async t => {
    const folder = makeDiskFolder(t);
    const { messages, endings } = await fuzzReceiver({ folder, seed, sessions: 40 });
    t.comment(`${messages} messages, ${JSON.stringify(endings)}`);
    // What else there is are answers to Failures of ours.
    const { alive = 0, protocol = 0, cut = 0, bug = 0 } = endings;
    t.ok(alive > 0 && protocol > 0 && cut > 0, 'some were borne, some refused');
    t.equal(bug, 0);
  });
}
