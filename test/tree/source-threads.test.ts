import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { AdaptiveSource } from '../../src/tree/adaptive-source.ts';
import { timedCallsMax } from '../../src/tree/pace.ts';
import { DirectSource } from '../../src/tree/source.ts';
import { SourceThreads } from '../../src/tree/source-threads.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { makeGate } from '../support/gate.ts';
import { until } from '../support/until.ts';

type T = Parameters<Parameters<typeof t.test>[0]>[0];

const module = new URL('../support/slow-source-worker.js', import.meta.url);

function openThreads(t: T, options: { jobs?: number; hangMs?: number } = {}) {
  const root = join(makeDiskFolder(t), 'source');
  fs.mkdirSync(root);
  const threads = new SourceThreads({ root, jobs: 8, module, ...options });
  t.teardown(() => threads.close());
  const device = fs.statSync(root, { bigint: true }).dev;
  const names = (path: string): string[] =>
    threads.list({ path, device }).seen.map(one => one.name);
  return { root, threads, device, names };
}

/** Files of many kinds in directories of many sizes. */
function fill(root: string): string[] {
  const folders = [''];
  for (const count of [0, 1, 3, 64, 700]) {
    const folder = `with ${count}`;
    folders.push(folder);
    fs.mkdirSync(join(root, folder));
    for (let i = 0; i < count; i++) fs.writeFileSync(join(root, folder, `f${i}`), 'x'.repeat(i));
  }
  fs.mkdirSync(join(root, 'with 3', 'sub'), 0o700);
  fs.symlinkSync('nowhere', join(root, 'with 3', 'link'));
  fs.writeFileSync(join(root, 'with 3', '.replicaignore'), '*.o');
  fs.writeFileSync(Buffer.from(`${root}/with 3/\xff`, 'latin1'), 'not utf-8');
  return folders;
}

t.test('threads see what one alone sees', t => {
  const { root, threads, device } = openThreads(t);
  const folders = fill(root);
  const direct = new DirectSource(root);
  const listables = folders.map(path => ({ path, device }));
  for (const isExpected of [false, true]) {
    if (isExpected) threads.expect(listables);
    for (const folder of listables) {
      const [one, other] = [threads.list(folder), direct.list(folder)];
      t.same(one.seen, other.seen, `'${folder.path}'`);
      t.ok(one.bytes.equals(other.bytes), 'packed to the same bytes');
      t.equal(one.namesHash, other.namesHash);
      t.equal(one.hasRules, other.hasRules);
      t.equal(one.largestSize, other.largestSize);
      t.same(one.special, other.special);
    }
  }
  const paths = ['', 'with 3', 'with 3/link', 'not there', 'with 3/f0/below'];
  const [ours, theirs] = [threads.statAll(paths), direct.statAll(paths)];
  t.equal(ours.length, paths.length);
  for (const [i, stats] of ours.entries()) {
    const expected = theirs[i];
    if (expected === undefined || expected instanceof Error)
      t.equal(stats, expected, `'${paths[i]}'`);
    else t.match(expected, stats, `'${paths[i]}'`);
  }
  t.equal(threads.readLink('with 3/link'), 'nowhere');
  t.equal(threads.readText('with 3/.replicaignore'), '*.o');
  t.throws(() => threads.list({ path: 'not there', device }), { code: 'ENOENT' });
  t.throws(() => threads.readLink('with 3/f1'), { code: 'EINVAL' });
  t.end();
});

t.test('eight look at one directory side by side', t => {
  const { root, names } = openThreads(t);
  for (let i = 0; i < 100; i++) fs.writeFileSync(join(root, `f${i}`), '');
  const inside = makeGate(root, 'f');
  t.equal(names('').length, 100);
  t.equal(inside(), 8);
  t.end();
});

t.test('directories that are expected are listed side by side', t => {
  const { root, threads, device, names } = openThreads(t);
  const paths = Array.from({ length: 8 }, (_, i) => `d${i}`);
  for (const path of paths) fs.mkdirSync(join(root, path));
  const inside = makeGate(root, 'd');
  threads.expect(paths.map(path => ({ path, device })));
  for (const path of paths) t.same(names(path), [], path);
  t.equal(inside(), 8, 'each was listed by a thread while the others were');
  t.end();
});

t.test('stats of many are asked for side by side', t => {
  const { root, threads } = openThreads(t);
  const paths = Array.from({ length: 64 }, (_, i) => `f${i}`);
  for (const path of paths) fs.writeFileSync(join(root, path), '');
  const inside = makeGate(root, 'f');
  t.equal(threads.statAll(paths).filter(stats => stats !== undefined).length, 64);
  t.equal(inside(), 8);
  t.end();
});

t.test('a call that hangs is given up, and holds nothing else up', async t => {
  const { root, threads, device, names } = openThreads(t, { jobs: 1, hangMs: 150 });
  fs.mkdirSync(join(root, 'good'));
  for (let i = 0; i < 40; i++) fs.writeFileSync(join(root, 'good', `f${i}`), '');
  fs.writeFileSync(`${root}.hang`, 'good/f7', 'latin1');
  const listing = threads.list({ path: 'good', device });
  t.same([...listing.unreadable.keys()], ['f7'], 'neither changed nor gone');
  t.match(listing.unreadable.get('f7' as never), { code: 'ETIMEDOUT', path: 'good/f7' });
  t.equal(listing.seen.length, 39, 'all others are seen');
  t.match(threads.statAll(['good/f7', 'good']), [{ code: 'ETIMEDOUT' }, { nlink: 2n }]);

  fs.writeFileSync(`${root}.hang`, 'good', 'latin1');
  t.throws(() => names('good'), { code: 'ETIMEDOUT' }, 'the second of two threads');
  t.throws(() => names(''), { code: 'ETIMEDOUT' }, 'nobody is left');

  fs.rmSync(`${root}.hang`);
  const isBack = (): boolean => {
    try {
      return names('good').length === 40;
    } catch {
      return false;
    }
  };
  await until(isBack, 'what hung');
  t.same(threads.list({ path: 'good', device }).unreadable.size, 0);
});

t.test('what was begun in vain is dropped', t => {
  const { root, threads, device, names } = openThreads(t, { jobs: 1 });
  fs.mkdirSync(join(root, 'old'));
  fs.writeFileSync(join(root, 'old', 'before'), '');
  threads.expect([{ path: 'old', device }]);
  t.same(names(''), ['old']); // The one thread has been through the queue.
  fs.renameSync(join(root, 'old', 'before'), join(root, 'old', 'after'));
  threads.expect([]);
  t.same(names('old'), ['after']);
  t.end();
});

t.test('a source that answers slowly gets threads, a quick one none', t => {
  for (const [callMs, lookahead] of [
    [0.01, 0],
    [1, 16],
  ] as const) {
    const root = makeDiskFolder(t);
    for (let i = 0; i < 300; i++) fs.writeFileSync(join(root, `f${i}`), '');
    let nowMs = 0;
    const clock = (): number => {
      nowMs += callMs * timedCallsMax;
      return nowMs;
    };
    const source = new AdaptiveSource({ root, jobs: 'auto', nowMs: clock });
    const device = fs.statSync(root, { bigint: true }).dev;
    for (let i = 0; i < 3; i++) t.equal(source.list({ path: '', device }).seen.length, 300);
    t.equal(source.lookahead, lookahead, `${callMs} ms a call`);
    void source.close();
  }
  t.end();
});

t.test('a machine that stops for a moment now and then makes no slow source', t => {
  const root = makeDiskFolder(t);
  for (let i = 0; i < 300; i++) fs.writeFileSync(join(root, `f${i}`), '');
  let nowMs = 0;
  let readings = 0;
  const clock = (): number => {
    readings++;
    nowMs += readings % 5 === 0 ? 100 : 0.1;
    return nowMs;
  };
  const source = new AdaptiveSource({ root, jobs: 'auto', nowMs: clock });
  const device = fs.statSync(root, { bigint: true }).dev;
  for (let i = 0; i < 5; i++) source.list({ path: '', device });
  t.equal(source.lookahead, 0);
  t.ok(nowMs > 1000, 'on average a call took 0.6 ms');
  t.end();
});
