// What does an edit cost when the push that read the old version was killed, by --optimize?
//
//   node dist/bench/scenarios/forgotten.bench.js [--size MiB] [--rate bytes/s] [--rows PATTERN]
//
// Each cell is a live session of its own: copied, ended by SIGKILL unless the column says 'kept', begun
// again, then changed. Bytes go both ways through a relay that counts them, TLS and acknowledgements
// included. 'time' is what every edit cost before the receiver could be asked.
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CountedSession, type Traffic } from '../support/counted-session.ts';
import { type Group, largeFileGroup, type Row, sourcesGroup } from '../support/delta-rows.ts';
import { formatTable } from '../support/table.ts';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '1024' },
    rate: { type: 'string' },
    rows: { type: 'string', default: 'edits|insert|pages|a line' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const columns = [
  { name: 'kept', isKilled: false, optimize: 'auto' },
  { name: 'time', isKilled: true, optimize: 'time' },
  { name: 'auto', isKilled: true, optimize: 'auto' },
  { name: 'bytes', isKilled: true, optimize: 'bytes' },
] as const;
const groups = [largeFileGroup(Number(values.size) * 1024 * 1024), sourcesGroup(1000)];

async function measure(
  group: Group,
  row: Row,
  { isKilled, optimize }: (typeof columns)[number],
): Promise<Traffic> {
  const base = fs.mkdtempSync(join(values.place, 'replica-bench-'));
  try {
    const [source, target, folder] = [join(base, 's'), join(base, 't'), join(base, 'home')];
    fs.mkdirSync(source);
    fs.mkdirSync(target);
    group.make(source);
    const pushArgs = ['--optimize', optimize, ...(group.compresses ? ['-z'] : [])];
    const options = { folder, source, target, pushArgs, receiveArgs: ['--keep', '0s'] };
    const session = await CountedSession.open(
      values.rate === undefined ? options : { ...options, bytesPerSecond: Number(values.rate) },
    );
    await session.traffic();
    if (isKilled) await session.forget();
    const traffic = await session.traffic(() => row.change(source, 1));
    await session.close();
    return traffic;
  } finally {
    fs.rmSync(base, { recursive: true, force: true });
  }
}

const pattern = new RegExp(values.rows);
const table = [['', ...columns.flatMap(({ name }) => [name, 's'])]];
for (const group of groups) {
  for (const row of group.rows.filter(({ name }) => pattern.test(name))) {
    const cells = [row.name];
    for (const column of columns) {
      const { bytes, seconds } = await measure(group, row, column);
      cells.push(String(bytes), seconds.toFixed(2));
    }
    console.error(cells.join('  '));
    table.push(cells);
  }
}
console.log(formatTable(table));
