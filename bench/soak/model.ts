// Are both trees equal after any program of operations and faults, whatever strikes when?
//   node dist/bench/soak/model.js [--first 1] [--programs 1000] [--folder DIR] [--keep-going]
//     [--shrink-seconds 300] [--narrow]
//   --narrow: without refusals, verdicts, and looks of other kinds
//   node dist/bench/soak/model.js --seed 17            one program; made smaller if it fails
//   node dist/bench/soak/model.js --program FILE       one that was printed
// One line for each failure and every 100 programs. Exit 1 if any failed.
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { removeFolder } from '../../test/support/folders.ts';
import { type Program, randomProgram, shrink } from '../../test/support/model-program.ts';
import { type RunOutcome, runProgram } from '../../test/support/model-run.ts';
import { wideProgram } from '../../test/support/model-wide.ts';
import { seededRandom } from '../../test/support/random.ts';

const { values } = parseArgs({
  options: {
    first: { type: 'string', default: '1' },
    programs: { type: 'string', default: '1000' },
    seed: { type: 'string' },
    program: { type: 'string' },
    folder: { type: 'string', default: '/dev/shm' },
    'shrink-seconds': { type: 'string', default: '300' },
    'keep-going': { type: 'boolean', default: false },
    narrow: { type: 'boolean', default: false },
  },
});
/** A program that failed by a race is given this many chances to fail again. */
const triesMax = 2;
const stuckWhileShrinkingMs = 5000;

async function run(program: Program, stuckMs?: number): Promise<RunOutcome> {
  const folder = fs.mkdtempSync(join(values.folder, 'replica-model-'));
  try {
    return await runProgram(folder, program, stuckMs);
  } finally {
    removeFolder(folder);
  }
}

async function fails(program: Program): Promise<RunOutcome | undefined> {
  for (let i = 0; i < triesMax; i++) {
    const outcome = await run(program, stuckWhileShrinkingMs);
    if (outcome.problems.length > 0) return outcome;
  }
  return undefined;
}

async function reportFailure(program: Program, outcome: RunOutcome): Promise<void> {
  const { seed, options = {} } = program;
  console.log(JSON.stringify({ bench: 'soak/model', seed, problems: outcome.problems }));
  const untilMs = performance.now() + Number(values['shrink-seconds']) * 1000;
  const steps = await shrink(program.steps, async steps => {
    return performance.now() < untilMs && !!(await fails({ seed, steps, options }));
  });
  const least = { seed, steps, options };
  const problems = (await fails(least))?.problems ?? ['does not fail every time'];
  console.log(JSON.stringify({ again: `--seed ${seed}`, least, problems }));
}

function programs(): Program[] {
  if (values.program !== undefined) return [JSON.parse(fs.readFileSync(values.program, 'utf8'))];
  if (values.seed !== undefined) return [ofSeed(Number(values.seed))];
  const first = Number(values.first);
  return Array.from({ length: Number(values.programs) }, (_, i) => ofSeed(first + i));
}

function ofSeed(seed: number): Program {
  const random = seededRandom(seed);
  return values.narrow ? randomProgram(seed, random) : wideProgram(seed, random);
}

const begunMs = performance.now();
const done = new Map<string, number>();
let count = 0;
let failed = 0;
let readCount = 0;
const summary = (): string =>
  JSON.stringify({
    bench: 'soak/model',
    programs: count,
    failed,
    seconds: Math.round((performance.now() - begunMs) / 1000),
    readCount,
    done: Object.fromEntries(done),
  });

for (const program of programs()) {
  const outcome = await run(program);
  count++;
  readCount += outcome.readCount;
  for (const [kind, times] of outcome.done) done.set(kind, (done.get(kind) ?? 0) + times);
  if (outcome.problems.length > 0) {
    failed++;
    await reportFailure(program, outcome);
    if (!values['keep-going']) break;
  }
  if (count % 100 === 0) console.log(summary());
}
console.log(summary());
process.exitCode = failed > 0 ? 1 : 0;
