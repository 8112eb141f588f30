import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { commitLogFileSizeMax, commitLogLineSizeMax } from '../../src/limits.ts';
import { CommitLog, type LoggedCommit, readCommitLog } from '../../src/store/commit-log.ts';

const base = { epoch: 'abcd0123', timeMs: 1_700_000_000_000, more: 0 } as const;

function commit(number: number, path = `f${number}`): LoggedCommit {
  return { ...base, commit: number, operations: [{ kind: 'file', path, size: number }] };
}

t.test('what was written is read again, by number of the commit', async t => {
  const folder = t.testdir();
  t.same(readCommitLog(folder), [], 'nothing yet');
  const log = new CommitLog(folder);
  const operations: LoggedCommit['operations'] = [
    { kind: 'directory', path: 'd' },
    { kind: 'file', path: 'd/\xff\n"', size: 0 },
    { kind: 'rename', path: 'e', from: 'd' },
    { kind: 'remove', path: 'gone' },
    { kind: 'attributes', path: '' },
  ];
  log.append([{ ...base, commit: 1, operations }, commit(2)]);
  log.append([commit(3)]);
  log.close();
  const again = new CommitLog(folder);
  again.append([commit(4)]);
  again.close();
  t.same(readCommitLog(folder), [
    { ...base, commit: 1, operations },
    commit(2),
    commit(3),
    commit(4),
  ]);
  t.equal(fs.statSync(join(folder, 'commits.jsonl')).mode & 0o777, 0o600);
});

t.test('a line that was cut short costs itself only, foreign ones nothing', async t => {
  const folder = t.testdir();
  const path = join(folder, 'commits.jsonl');
  const log = new CommitLog(folder);
  log.append([commit(1), commit(2)]);
  log.close();
  fs.truncateSync(path, fs.statSync(path).size - 5);
  fs.appendFileSync(path, '\nnull\n{"epoch":1}\n[1]\n{"epoch":"","commit":1,"timeMs":-1}\n{"com');
  const next = new CommitLog(folder);
  next.append([commit(3)]);
  next.close();
  t.same(readCommitLog(folder), [commit(1), commit(3)]);
});

t.test(
  'a commit that was finished after a crash counts once, one of lost state is another',
  async t => {
    const folder = t.testdir();
    const log = new CommitLog(folder);
    log.append([
      commit(1),
      commit(2, 'before'),
      commit(2, 'after'),
      { ...commit(2), epoch: 'other' },
    ]);
    log.close();
    t.same(readCommitLog(folder), [
      commit(1),
      commit(2, 'after'),
      { ...commit(2), epoch: 'other' },
    ]);
  },
);

t.test('it stays within its bounds: a long line is cut, the oldest goes', async t => {
  const folder = t.testdir();
  const log = new CommitLog(folder);
  const operations = Array.from({ length: 256 }, (_, i) => ({
    kind: 'file' as const,
    path: `${i}/${'x'.repeat(3000)}`,
    size: 1,
  }));
  const number = Math.ceil((commitLogFileSizeMax / (commitLogLineSizeMax / 2)) * 3);
  for (let i = 1; i <= number; i++) log.append([{ ...base, commit: i, operations }]);
  log.close();
  const sizes = ['commits.jsonl', 'commits.older.jsonl'].map(
    name => fs.statSync(join(folder, name)).size,
  );
  for (const size of sizes)
    t.ok(size < commitLogFileSizeMax + 2 * commitLogLineSizeMax, `${size} bytes`);
  t.same(fs.readdirSync(folder).length, 2);
  const commits = readCommitLog(folder);
  const last = commits.at(-1);
  t.equal(last?.commit, number);
  t.ok((last?.operations.length ?? 0) > 10 && (last?.operations.length ?? 0) < 30);
  t.equal((last?.operations.length ?? 0) + (last?.more ?? 0), 256);
  t.ok((commits[0]?.commit ?? 0) > 1, 'the oldest are gone');
  t.same(
    commits.map(one => one.commit),
    Array.from({ length: commits.length }, (_, i) => number - commits.length + 1 + i),
    'and none between',
  );
});
