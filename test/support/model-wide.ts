// Wider programs for the model test: those of model-program.ts, with refusals, looks of other kinds,
// verdicts on held deletes and more put in. A seed means the same program of the narrow kind within.
import {
  apartPath,
  type Fault,
  folders,
  names,
  namesApart,
  type Operation,
  type Program,
  randomProgram,
  type Step,
} from './model-program.ts';
import { pick, randomInteger } from './random.ts';
import type { RefusedCall } from './refusals.ts';

type Random = () => number;

export function wideProgram(seed: number, random: Random): Program {
  const { steps: narrow } = randomProgram(seed, random);
  const steps: Step[] = [...narrow.slice(0, -1)];
  const isHeld = random() < 0.3;
  const insert = (step: Step): void => {
    steps.splice(3 + randomInteger(random, steps.length - 3), 0, step);
  };
  const insertMany = (countMax: number, make: () => Step): void => {
    for (let i = randomInteger(random, countMax + 1); i > 0; i--) insert(make());
  };
  for (let i = 6 + randomInteger(random, 8); i > 0; i--) insert(operationApart(random));
  for (let i = 1 + randomInteger(random, 4); i > 0; i--) insert(randomRefusal(random));
  insertMany(6, () => ({ kind: 'look', ticks: 1 + randomInteger(random, 4) }));
  insertMany(2, () => ({ kind: 'unreadable', at: randomPath(random) }));
  insertMany(2, () => randomRules(random));
  insertMany(1, () => ({ kind: 'once' }));
  if (isHeld) {
    insertMany(4, () => ({ kind: 'decide', verdict: pick(random, ['approve', 'reject', 'undo']) }));
  }
  steps.unshift({ kind: 'mkdir', path: apartPath });
  steps.push({ kind: 'settle', waits: random() < 0.3 });
  const options = {
    ...(isHeld && { maxDelete: 1 + randomInteger(random, 3) }),
    // Nothing fits: each tick looks at a part of the tree.
    ...(random() < 0.3 && { cpuShare: 1e-9 }),
  };
  return { seed, steps, options };
}

function randomPath(random: Random): string {
  return pick(random, folders) + pick(random, names);
}

function operationApart(random: Random): Operation {
  const path = `${apartPath}/${pick(random, namesApart)}`;
  switch (randomInteger(random, 6)) {
    case 0:
      return { kind: 'unlink', path };
    case 1:
      return { kind: 'rename', path, to: `${apartPath}/${pick(random, namesApart)}` };
    case 2:
      return { kind: 'touch', path, seconds: randomInteger(random, 2e9) + 0.25 };
    default: {
      const size = randomInteger(random, 20_000);
      return { kind: 'save', path, size, seed: randomInteger(random, 1e6) };
    }
  }
}

const refusedCalls: readonly (readonly [RefusedCall, readonly string[]])[] = [
  ['link', ['EPERM', 'EMLINK', 'ENOTSUP', 'EXDEV']],
  ['symlink', ['EPERM', 'ENOTSUP']],
  ['chmod', ['EPERM']],
  ['setTimes', ['EPERM', 'EACCES']],
  ['unlink', ['EPERM', 'EACCES', 'EBUSY']],
  ['rmdir', ['EACCES', 'EBUSY']],
  ['rename', ['EACCES', 'EBUSY', 'EXDEV', 'EEXIST']],
];
/** May be refused whatever the name. */
const wholeCalls: ReadonlySet<RefusedCall> = new Set(['link', 'symlink']);

function randomRefusal(random: Random): Fault {
  switch (randomInteger(random, 3)) {
    case 0: {
      const code = pick(random, ['ENAMETOOLONG', 'EILSEQ', 'EINVAL', 'EACCES', 'EEXIST']);
      return { kind: 'refuse', name: pick(random, names), code };
    }
    case 1:
      return { kind: 'immutable', at: randomPath(random) };
    default: {
      const [call, codes] = pick(random, refusedCalls);
      const isWhole = wholeCalls.has(call) && random() < 0.5;
      const name = isWhole ? {} : { name: pick(random, names) };
      return { kind: 'refuse', call, ...name, code: pick(random, codes) };
    }
  }
}

function randomRules(random: Random): Step {
  const text = [pick(random, names), `!${pick(random, names)}`, `${pick(random, names)}/`];
  const lines = text.slice(0, 1 + randomInteger(random, 3));
  return { kind: 'rules', folder: pick(random, folders), text: `${lines.join('\n')}\n` };
}
