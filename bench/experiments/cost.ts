// Question: what does each stage cost in core-seconds, with the real system calls, hashes, TLS
// and LMDB writes and no features? It decides what runs in workers.
//
//   node --expose-gc dist/bench/experiments/cost.js [--only REGEX] [--root /dev/shm/…] [--disk /tmp/…]
// Core-seconds are user + system time of the process (both processes for sockets); median of
// three by core-seconds. Node's built-ins, lmdb and xxhash-addon; nothing from src/.
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { createHash, hash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import * as lmdb from 'lmdb';
import xxhash from 'xxhash-addon';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '.' },
    root: { type: 'string', default: '/dev/shm/replica-cost' },
    /** LMDB with sync needs a real disk. */
    disk: { type: 'string', default: '/tmp/replica-cost' },
    files: { type: 'string', default: '100000' },
    largeMib: { type: 'string', default: '2048' },
    runs: { type: 'string', default: '3' },
    /** Internal: the receiving process of the socket stages. */
    sink: { type: 'string', default: '' },
    /** Only sweep this folder (for a slow mount), one call at a time and overlapping. */
    sweep: { type: 'string', default: '' },
  },
});
const fileCount = Number(options.files);
const filesPerFolder = 50;
const folderCount = Math.ceil(fileCount / filesPerFolder);
const source = `${options.root}/source`;
const largePath = `${options.root}/large`;
const mib = 1024 * 1024;
const blockSize = 16 * 1024;

interface Cost {
  readonly wall: number;
  readonly user: number;
  readonly system: number;
}
interface Row {
  readonly name: string;
  /** What one unit is, and how many there were. */
  readonly unit: string;
  readonly count: number;
  readonly costs: readonly Cost[];
}
const rows: Row[] = [];

type Stage = () => void | Promise<void> | Promise<Cost>;

async function measure(
  name: string,
  amount: { readonly unit: string; readonly count: number },
  stage: Stage,
  prepare: () => void | Promise<void> = () => {},
): Promise<void> {
  if (!new RegExp(options.only).test(name)) return;
  const costs: Cost[] = [];
  for (let run = 0; run < Number(options.runs); run++) {
    await prepare();
    globalThis.gc?.();
    const before = process.cpuUsage();
    const began = performance.now();
    const other = await stage();
    const wall = (performance.now() - began) / 1000;
    const used = process.cpuUsage(before);
    costs.push({
      wall,
      user: used.user / 1e6 + (other?.user ?? 0),
      system: used.system / 1e6 + (other?.system ?? 0),
    });
  }
  const core = (cost: Cost) => cost.user + cost.system;
  costs.sort((a, b) => core(a) - core(b));
  rows.push({ name, ...amount, costs });
  const row = rows.at(-1) ?? assert.fail();
  console.log(line(row));
}

function line({ name, unit, count, costs }: Row): string {
  const { wall, user, system } = costs[Math.floor(costs.length / 2)] ?? assert.fail();
  const core = user + system;
  const last = costs.at(-1) ?? assert.fail();
  const first = costs[0] ?? assert.fail();
  const spread = `${(first.user + first.system).toFixed(2)}–${(last.user + last.system).toFixed(2)}`;
  const each =
    unit === 'GiB'
      ? `${(core / count).toFixed(2)} s/GiB`
      : `${((core / count) * 1e6).toFixed(1)} µs/${unit}`;
  return `| ${name} | ${core.toFixed(2)} | ${user.toFixed(2)} | ${system.toFixed(2)} | ${spread} | ${wall.toFixed(2)} | ${each} |`;
}

const heading =
  '| stage | core-s | user | sys | min–max | wall s | each |\n|---|--:|--:|--:|--:|--:|--:|';

// --- The trees. ---

function folderPath(base: string, i: number): string {
  return `${base}/d${i}`;
}

function fileName(i: number): string {
  return `file-${i}.txt`;
}

function sizeOf(i: number): number {
  return 2048 + ((i * 7919) % 2049);
}

function makeTrees(): void {
  if (!fs.existsSync(source)) {
    fs.mkdirSync(source, { recursive: true });
    const bytes = randomBytes(8192);
    for (let folder = 0; folder < folderCount; folder++) {
      fs.mkdirSync(folderPath(source, folder));
      for (let i = 0; i < filesPerFolder; i++) {
        const n = folder * filesPerFolder + i;
        bytes.writeUInt32BE(n, 0);
        const path = `${folderPath(source, folder)}/${fileName(n)}`;
        fs.writeFileSync(path, bytes.subarray(0, sizeOf(n)));
      }
    }
  }
  if (!fs.existsSync(largePath)) {
    const fd = fs.openSync(largePath, 'w');
    const bytes = randomBytes(mib);
    for (let i = 0; i < Number(options.largeMib); i++) {
      bytes.writeUInt32BE(i, 0);
      fs.writeSync(fd, bytes);
    }
    fs.closeSync(fd);
  }
}

// --- Source side. ---

function sweep(base: string, bigint: boolean): number {
  let count = 0;
  for (const folder of fs.readdirSync(base, 'latin1')) {
    const path = `${base}/${folder}`;
    for (const name of fs.readdirSync(path, 'latin1')) {
      if (bigint) count += fs.lstatSync(`${path}/${name}`, { bigint: true }).isFile() ? 1 : 0;
      else count += fs.lstatSync(`${path}/${name}`).isFile() ? 1 : 0;
    }
  }
  return count;
}

function eachFile(base: string, visit: (path: string, n: number) => void): void {
  for (let folder = 0; folder < folderCount; folder++) {
    const path = folderPath(base, folder);
    for (let i = 0; i < filesPerFolder; i++) {
      const n = folder * filesPerFolder + i;
      visit(`${path}/${fileName(n)}`, n);
    }
  }
}

const buffer = Buffer.allocUnsafeSlow(mib);

function readSmall(path: string, bigint: boolean): number {
  const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  const before = bigint ? fs.fstatSync(fd, { bigint: true }) : fs.fstatSync(fd);
  const size = fs.readSync(fd, buffer, 0, buffer.length, 0);
  const after = bigint ? fs.fstatSync(fd, { bigint: true }) : fs.fstatSync(fd);
  fs.closeSync(fd);
  assert(before.size === after.size);
  return size;
}

function readLarge(visit: (bytes: Buffer) => void): void {
  const fd = fs.openSync(largePath, 'r');
  for (let size = 1; size > 0; ) {
    size = fs.readSync(fd, buffer, 0, mib, null);
    if (size > 0) visit(buffer.subarray(0, size));
  }
  fs.closeSync(fd);
}

async function measureSource(): Promise<void> {
  const files = { unit: 'file', count: fileCount };
  const large = { unit: 'GiB', count: Number(options.largeMib) / 1024 };
  await measure('sweep: readdir + lstat (Stats)', files, () => {
    assert.equal(sweep(source, false), fileCount);
  });
  await measure('sweep: readdir + lstat (BigIntStats)', files, () => {
    assert.equal(sweep(source, true), fileCount);
  });
  await measure(
    'tick: lstat of directories only (BigIntStats)',
    { unit: 'directory', count: folderCount },
    () => {
      for (let i = 0; i < folderCount; i++) fs.lstatSync(folderPath(source, i), { bigint: true });
    },
  );
  await measure('small files: open, fstat, read, fstat, close', files, () => {
    eachFile(source, path => void readSmall(path, false));
  });
  await measure('small files: the same with BigIntStats', files, () => {
    eachFile(source, path => void readSmall(path, true));
  });
  await measure('large file: read in 1 MiB', large, () => readLarge(() => {}));

  const block = randomBytes(blockSize);
  const blocks = { unit: 'block of 16 KiB', count: (large.count * 1024 * mib) / blockSize };
  const hasher = new xxhash.XXHash128(randomBytes(192));
  const xxh = (bytes: Buffer) => {
    hasher.reset();
    hasher.update(bytes);
    return hasher.digest();
  };
  const secret = randomBytes(32);
  const primed = createHash('sha256').update(secret);
  const scratch = Buffer.allocUnsafeSlow(32 + 64 * 1024);
  secret.copy(scratch);
  const ids: Record<string, (bytes: Buffer) => Buffer> = {
    'XXH3-128, keyed, reused hasher': xxh,
    'SHA-256 id: primed hash.copy()': bytes => primed.copy().update(bytes).digest().subarray(0, 16),
    'SHA-256 id: createHash, two updates': bytes =>
      createHash('sha256').update(secret).update(bytes).digest().subarray(0, 16),
    'SHA-256 id: crypto.hash one-shot, scratch copy': bytes => {
      scratch.set(bytes, 32);
      const text = hash('sha256', scratch.subarray(0, 32 + bytes.length), 'binary');
      return Buffer.from(text.slice(0, 16), 'latin1');
    },
  };
  for (const [name, id] of Object.entries(ids)) {
    await measure(`${name}, 3 KiB`, files, () => {
      for (let n = 0; n < fileCount; n++) id(block.subarray(0, sizeOf(n)));
    });
    await measure(`${name}, 16 KiB`, blocks, () => {
      for (let n = 0; n < blocks.count; n++) id(block);
    });
  }
}

// --- Stores. ---

async function measureStores(): Promise<void> {
  const files = { unit: 'file', count: fileCount };
  const perCommit = 256;
  for (const sync of [false, true]) {
    const label = sync ? 'on disk, each commit flushed' : 'noSync';
    const path = sync ? `${options.disk}/lmdb` : `${options.root}/lmdb`;
    let root: lmdb.RootDatabase | undefined;
    const open = async () => {
      await root?.close();
      fs.rmSync(path, { recursive: true, force: true });
      root = lmdb.open({
        path,
        noSync: !sync,
        keyEncoding: 'binary',
        encoding: 'binary',
        maxDbs: 8,
      });
    };
    const table = (name: string) =>
      (root ?? assert.fail()).openDB<Buffer, Buffer>(name, {
        keyEncoding: 'binary',
        encoding: 'binary',
      });
    const page = randomBytes(4096);
    await measure(
      `LMDB sender: ${folderCount} listing pages of 4 KiB, 16 a transaction, ${label}`,
      files,
      async () => {
        const pages = table('pages');
        for (let i = 0; i < folderCount; ) {
          const done = pages.batch(() => {
            for (let n = 0; n < 16 && i < folderCount; n++, i++) void pages.put(key(i, 8), page);
          });
          await (sync ? done.then(() => pages.flushed) : done);
        }
      },
      open,
    );
    await measure(
      `LMDB receiver: names + files + blocks, ${perCommit} files a transaction, ${label}`,
      files,
      async () => {
        const names = table('names');
        const fileTable = table('files');
        const blocks = table('blocks');
        const random = randomBytes(16 * fileCount);
        for (let n = 0; n < fileCount; ) {
          const done = (root ?? assert.fail()).batch(() => {
            for (let i = 0; i < perCommit && n < fileCount; i++, n++) {
              void names.put(key(n, 22), page.subarray(0, 80));
              void fileTable.put(key(n, 8), page.subarray(0, 90));
              void blocks.put(random.subarray(n * 16, n * 16 + 16), page.subarray(0, 14));
            }
          });
          await (sync ? done.then(() => names.flushed) : done);
        }
      },
      open,
    );
    await root?.close();
    fs.rmSync(path, { recursive: true, force: true });
  }
}

function key(n: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32BE(Math.floor(n / filesPerFolder), 2);
  bytes.writeUInt32BE(n, size - 4 < 6 ? 4 : size - 4);
  return bytes;
}

// --- Destination side. ---

async function measureDestination(base: string, label: string): Promise<void> {
  const files = { unit: 'file', count: fileCount };
  const stage = `${base}/stage`;
  const target = `${base}/target`;
  const bytes = randomBytes(8192);
  const flags =
    fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW;
  const clear = () => {
    fs.rmSync(stage, { recursive: true, force: true });
    fs.rmSync(target, { recursive: true, force: true });
    fs.mkdirSync(stage, { recursive: true });
    fs.mkdirSync(target);
  };
  const write = (path: string, n: number) => {
    const fd = fs.openSync(path, flags, 0o644);
    fs.writeSync(fd, bytes, 0, sizeOf(n));
    fs.futimesSync(fd, 1.6e9, 1.6e9);
    fs.closeSync(fd);
  };
  const eachFolder = (visit: (folder: number, path: string) => void) => {
    for (let folder = 0; folder < folderCount; folder++) visit(folder, folderPath(target, folder));
  };
  await measure(
    `stage each file, rename, lstat; plain paths; ${label}`,
    files,
    () => {
      eachFolder((folder, path) => {
        fs.mkdirSync(path);
        for (let i = 0; i < filesPerFolder; i++) {
          const n = folder * filesPerFolder + i;
          write(`${stage}/${n}`, n);
          fs.renameSync(`${stage}/${n}`, `${path}/${fileName(n)}`);
          fs.lstatSync(`${path}/${fileName(n)}`, { bigint: true });
        }
      });
    },
    clear,
  );
  await measure(
    `stage each file, rename, lstat; /proc/self/fd; ${label}`,
    files,
    () => {
      const stageFd = fs.openSync(stage, 'r');
      eachFolder((folder, path) => {
        fs.mkdirSync(path);
        const fd = fs.openSync(path, 'r');
        for (let i = 0; i < filesPerFolder; i++) {
          const n = folder * filesPerFolder + i;
          write(`/proc/self/fd/${stageFd}/${n}`, n);
          fs.renameSync(`/proc/self/fd/${stageFd}/${n}`, `/proc/self/fd/${fd}/${fileName(n)}`);
          fs.lstatSync(`/proc/self/fd/${fd}/${fileName(n)}`, { bigint: true });
        }
        fs.closeSync(fd);
      });
      fs.closeSync(stageFd);
    },
    clear,
  );
  await measure(
    `whole directory in staging, one rename; /proc/self/fd; ${label}`,
    files,
    () => {
      eachFolder((folder, path) => {
        const staged = `${stage}/d${folder}`;
        fs.mkdirSync(staged);
        const fd = fs.openSync(staged, 'r');
        for (let i = 0; i < filesPerFolder; i++) {
          const n = folder * filesPerFolder + i;
          const file = fs.openSync(`/proc/self/fd/${fd}/${fileName(n)}`, flags, 0o644);
          fs.writeSync(file, bytes, 0, sizeOf(n));
          fs.futimesSync(file, 1.6e9, 1.6e9);
          fs.fstatSync(file, { bigint: true });
          fs.closeSync(file);
        }
        fs.closeSync(fd);
        fs.renameSync(staged, path);
      });
    },
    clear,
  );
  fs.rmSync(stage, { recursive: true, force: true });
  fs.rmSync(target, { recursive: true, force: true });
}

// --- Sockets. ---

const psk = Buffer.alloc(32, 7);
const socketBytes = 512 * mib;
const writeSize = 256 * 1024;

/** The receiving process: prints its port, counts bytes, then tells what they cost it. */
function runSink(kind: string): void {
  const serve = (socket: net.Socket) => {
    const before = process.cpuUsage();
    let left = socketBytes;
    socket.on('data', bytes => {
      left -= bytes.length;
      if (left > 0) return;
      const { user, system } = process.cpuUsage(before);
      process.send?.({ user: user / 1e6, system: system / 1e6, wall: 0 });
      socket.destroy();
    });
  };
  const server =
    kind === 'tls'
      ? tls.createServer(
          {
            minVersion: 'TLSv1.3',
            ciphers: 'TLS_AES_128_GCM_SHA256',
            pskCallback: () => psk,
          },
          serve,
        )
      : net.createServer(serve);
  server.listen(0, '127.0.0.1', () => process.send?.(server.address()));
  process.on('disconnect', () => process.exit());
}

async function measureSockets(): Promise<void> {
  const amount = { unit: 'GiB', count: socketBytes / mib / 1024 };
  for (const kind of ['plain', 'tls']) {
    await measure(`${kind} socket, both ends, 256 KiB writes`, amount, async () => {
      const child = fork(new URL(import.meta.url), ['--sink', kind]);
      // The sink first sends its address, then its cost.
      const { port } = (await message(child)) as net.AddressInfo;
      const before = process.cpuUsage();
      const socket = await connect(kind, port);
      const bytes = randomBytes(writeSize);
      for (let sent = 0; sent < socketBytes; sent += writeSize) {
        if (!socket.write(bytes)) await new Promise(resolve => socket.once('drain', resolve));
      }
      const cost = (await message(child)) as Cost;
      const mine = process.cpuUsage(before);
      const side = `sender ${((mine.user + mine.system) / 1e6).toFixed(2)}, receiver ${(cost.user + cost.system).toFixed(2)}`;
      console.error(`  ${kind}: ${side}`);
      socket.destroy();
      child.disconnect();
      return cost;
    });
  }
}

function message(child: ChildProcess): Promise<unknown> {
  return new Promise(resolve => child.once('message', resolve));
}

function connect(kind: string, port: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket =
      kind === 'plain'
        ? net.connect(port, '127.0.0.1', () => resolve(socket))
        : tls.connect(
            {
              port,
              host: '127.0.0.1',
              minVersion: 'TLSv1.3',
              ciphers: 'TLS_AES_128_GCM_SHA256',
              ca: [],
              checkServerIdentity: () => undefined,
              pskCallback: () => ({ psk, identity: 'x' }),
            },
            () => resolve(socket),
          );
    socket.once('error', reject);
  });
}

// --- Threads. ---

const transferCount = 2048;

async function measureThreads(): Promise<void> {
  const amount = { unit: 'message', count: transferCount };
  const ask = (kind: string, count: number) => async () => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { kind } });
    const began = performance.now();
    await new Promise(resolve => worker.once('message', resolve));
    started.push(performance.now() - began);
    let left = count;
    await new Promise<void>(resolve => {
      worker.on('message', (bytes: ArrayBuffer) => {
        if (--left === 0) resolve();
        // The buffer goes back, to be filled again.
        else worker.postMessage(bytes, kind === 'copy' ? [] : [bytes]);
      });
      for (let i = 0; i < 4; i++)
        worker.postMessage(new ArrayBuffer(kind === 'small' ? 4096 : mib));
    });
    await worker.terminate();
  };
  const started: number[] = [];
  await measure(
    'worker to main: 1 MiB transferred and returned',
    amount,
    ask('transfer', transferCount),
  );
  await measure('worker to main: 1 MiB copied', amount, ask('copy', transferCount));
  await measure(
    'worker to main: 4 KiB transferred and returned',
    { unit: 'message', count: 50_000 },
    ask('small', 50_000),
  );
  if (started.length > 0)
    console.error(`  a worker starts in ${Math.min(...started).toFixed(0)} ms at best`);
}

function runWorker(kind: string): void {
  const port = parentPort ?? assert.fail();
  port.postMessage('ready');
  port.on('message', (bytes: ArrayBuffer) =>
    port.postMessage(bytes, kind === 'copy' ? [] : [bytes]),
  );
}

// --- A slow mount. ---

async function sweepSlow(base: string): Promise<void> {
  const paths: string[] = [];
  const began = performance.now();
  for (const folder of fs.readdirSync(base, 'latin1')) {
    for (const name of fs.readdirSync(`${base}/${folder}`, 'latin1'))
      paths.push(`${base}/${folder}/${name}`);
  }
  console.log(`| readdir only | ${((performance.now() - began) / 1000).toFixed(2)} | |`);
  const report = async (name: string, work: () => void | Promise<void>) => {
    const before = process.cpuUsage();
    const start = performance.now();
    await work();
    const { user, system } = process.cpuUsage(before);
    const wall = (performance.now() - start) / 1000;
    console.log(`| ${name} | ${wall.toFixed(2)} | ${((user + system) / 1e6).toFixed(2)} |`);
  };
  await report(`${paths.length} lstat, one at a time`, () => {
    for (const path of paths) fs.lstatSync(path, { bigint: true });
  });
  for (const parallel of [4, 16]) {
    await report(
      `${paths.length} lstat, ${parallel} overlapping (pool of ${process.env.UV_THREADPOOL_SIZE ?? 4})`,
      async () => {
        let next = 0;
        const lane = async () => {
          for (let path = paths[next++]; path !== undefined; path = paths[next++]) {
            await fs.promises.lstat(path, { bigint: true });
          }
        };
        await Promise.all(Array.from({ length: parallel }, lane));
      },
    );
  }
}

async function main(): Promise<void> {
  if (options.sweep !== '') return sweepSlow(options.sweep);
  console.log(
    `${fileCount} files of 2 to 4 KiB in ${folderCount} directories, one of ${options.largeMib} MiB; Node ${process.version}\n`,
  );
  console.log(heading);
  fs.mkdirSync(options.disk, { recursive: true });
  try {
    makeTrees();
    await measureSource();
    await measureStores();
    await measureDestination(`${options.root}/destination`, 'tmpfs');
    await measureDestination(`${options.disk}/destination`, 'disk');
    await measureSockets();
    await measureThreads();
  } finally {
    fs.rmSync(options.root, { recursive: true, force: true });
    fs.rmSync(options.disk, { recursive: true, force: true });
  }
}

// What this file's own measureThreads passes.
if (!isMainThread) runWorker((workerData as { readonly kind: string }).kind);
else if (options.sink !== '') runSink(options.sink);
else await main();
