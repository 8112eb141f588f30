// What memory do both processes take where there is much of something?
//
//   node dist/bench/scenarios/memory.bench.js [--sparse GiB] [--references GiB] [--place FOLDER]
//
// sparse: one file of that size with 64 MiB of content in it, first copy. references: a file of that
// size (some 80,000 blocks a GiB), first copy; then a second file of the same content, of which each
// block is a reference. Needs three times its size at the place.
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Home } from '../../test/support/programs.ts';
import { ProcessMeter } from '../support/processes.ts';
import { makeLargeFile } from '../support/trees.ts';

const { values } = parseArgs({
  options: {
    sparse: { type: 'string', default: '20' },
    references: { type: 'string', default: '2' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const gibibyte = 1024 ** 3;
const base = fs.mkdtempSync(join(values.place, 'replica-bench-'));
const source = join(base, 'source');
const target = join(base, 'target');

function makeSparse(path: string, size: number): void {
  const fd = fs.openSync(path, 'w');
  fs.ftruncateSync(fd, size);
  const part = Buffer.alloc(1024 * 1024);
  for (let i = 0; i < 64; i++) {
    for (let at = 0; at < part.length; at += 4) part.writeUInt32LE((at * 2654435761 + i) >>> 0, at);
    fs.writeSync(fd, part, 0, part.length, Math.floor((size / 64) * i));
  }
  fs.closeSync(fd);
}

async function copy(home: Home, what: string): Promise<void> {
  const { program, port } = await home.receive(target, ['--insecure']);
  const receiving = new ProcessMeter(program.child.pid ?? 0);
  const begunMs = performance.now();
  const push = home.push(source, `127.0.0.1:${port}`, ['--once', '--insecure']);
  const sending = new ProcessMeter(push.child.pid ?? 0);
  const { code } = await push.exit;
  const seconds = (performance.now() - begunMs) / 1000;
  if (code !== 0) throw new Error(`push exits ${code}:\n${push.lines.slice(-5).join('\n')}`);
  const { anonymousMib: pushMib } = sending.stop();
  const { anonymousMib: receiveMib } = receiving.stop();
  await program.stop();
  const allocatedMib = (fs.statSync(join(target, 'file')).blocks * 512) / 1024 ** 2;
  console.log(JSON.stringify({ what, seconds, pushMib, receiveMib, allocatedMib }));
}

function begin(): Home {
  for (const folder of [source, target]) {
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder);
  }
  return new Home(fs.mkdtempSync(join(base, 'home-')));
}

try {
  if (Number(values.sparse) > 0) {
    const home = begin();
    makeSparse(join(source, 'file'), Number(values.sparse) * gibibyte);
    await copy(home, `a sparse file of ${values.sparse} GiB`);
  }
  if (Number(values.references) > 0) {
    const home = begin();
    makeLargeFile(join(source, 'file'), Number(values.references) * gibibyte);
    await copy(home, `a file of ${values.references} GiB`);
    const { COPYFILE_FICLONE } = fs.constants;
    fs.copyFileSync(join(source, 'file'), join(source, 'second'), COPYFILE_FICLONE);
    await copy(home, 'a second file of references to it');
  }
} finally {
  fs.rmSync(base, { recursive: true, force: true });
}
