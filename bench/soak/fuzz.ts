// Does any byte from a peer with the key ever cause more than the end of its own connection?
//   node dist/bench/soak/fuzz.js [--messages 1000000] [--seed 1] [--folder DIR]
// A seed that fails is repeated alone by --seed N --messages 1.
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fuzzCodec, fuzzDecoder, fuzzReceiver } from '../../test/support/fuzz.ts';

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    folder: { type: 'string', default: tmpdir() },
  },
});
/** Of each kind, with one seed. */
const sizes = { codec: 2000, frames: 200, sessions: 40 };
const wanted = Number(values.messages);
const figures = { seeds: 0, codec: 0, frames: 0, sessions: 0, session: 0 };
const endings: Record<string, number> = {};
const begunMs = performance.now();
const anonymous: number[] = [];
for (let seed = Number(values.seed); ; seed++) {
  const total = figures.codec + figures.frames + figures.session;
  if (total >= wanted) break;
  const folder = fs.mkdtempSync(join(values.folder, 'replica-fuzz-'));
  try {
    fuzzCodec(seed, sizes.codec);
    fuzzDecoder(seed, sizes.frames);
    const fuzzed = await fuzzReceiver({ folder, seed, sessions: sizes.sessions });
    figures.seeds++;
    figures.codec += sizes.codec;
    figures.frames += sizes.frames;
    figures.sessions += fuzzed.sessions;
    figures.session += fuzzed.messages;
    for (const [ending, count] of Object.entries(fuzzed.endings)) {
      endings[ending] = (endings[ending] ?? 0) + count;
    }
  } catch (error) {
    process.stderr.write(`seed ${seed}, kept ${folder}\n`);
    throw error;
  }
  fs.rmSync(folder, { recursive: true });
  if (figures.seeds % 50 === 0) {
    anonymous.push(Math.round(process.memoryUsage.rss() / 2 ** 20));
    process.stderr.write(`${figures.seeds} seeds, ${anonymous.at(-1)} MiB\n`);
  }
}
const seconds = Math.round((performance.now() - begunMs) / 1000);
console.log(
  JSON.stringify({
    bench: 'soak/fuzz',
    ...values,
    ...figures,
    endings,
    seconds,
    rssMiB: anonymous,
  }),
);
