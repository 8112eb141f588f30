// --settle: what waits, and for how long. The clocks are the test's.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { settlingMax } from '../../src/limits.ts';
import { type SettleRule, Settling } from '../../src/sender/settling.ts';
import type { Seen } from '../../src/snapshot/listing.ts';
import { toName } from '../../src/snapshot/name.ts';
import { openScanner, operationsOf, sweep } from '../support/scanning.ts';

const dayMs = 86_400_000;

/** A file written at `timeMs`. */
function seenAt(timeMs: number, changes: Partial<Seen> = {}): Seen {
  const timeNs = BigInt(timeMs) * 1_000_000n;
  return {
    name: toName('a'),
    kind: 'file',
    mode: 0o644,
    size: 1,
    mtimeNs: timeNs,
    ctimeNs: timeNs,
    ino: 1n,
    birthtimeNs: 1n,
    nlink: 1,
    ...changes,
  };
}

function open(...rules: readonly SettleRule[]): { at: { ms: number }; settling: Settling } {
  const at = { ms: dayMs };
  const clocks = { nowMs: () => at.ms - dayMs, timeMs: () => at.ms };
  return { at, settling: new Settling(rules, clocks) };
}

t.test('a file waits until it was seen unchanged for so long', async t => {
  const { at, settling } = open({ pattern: undefined, ms: 2000 });
  const isSettling = (seen: Seen): boolean => settling.isSettling('a', seen);
  const first = seenAt(dayMs);
  t.ok(isSettling(first));
  t.equal(settling.leftMs('a', first), 2000);
  at.ms += 1999;
  t.ok(isSettling(first));
  t.equal(settling.leftMs('a', first), 1);
  for (const change of [{ size: 2 }, { mtimeNs: 3n }, { ctimeNs: 3n }, { ino: 4n }]) {
    const other = { ...first, ...change };
    t.equal(settling.leftMs('a', other), undefined);
    t.ok(isSettling(other), `begins anew with ${Object.keys(change)}`);
    at.ms += 1999;
    t.ok(isSettling(other));
  }
  const last = { ...first, ino: 4n };
  t.same(settling.waiting(10), ['a']);
  at.ms += 1;
  t.notOk(isSettling(last));
  t.same(settling.waiting(10), [], 'forgotten');
});

t.test('by its times only what is old by a margin need not wait', async t => {
  const { settling } = open({ pattern: undefined, ms: 2000 });
  t.notOk(settling.isSettling('a', seenAt(dayMs - 62_000)));
  t.ok(settling.isSettling('a', seenAt(dayMs - 61_999)));
  t.ok(settling.isSettling('b', seenAt(0, { ctimeNs: BigInt(dayMs) * 1_000_000n })), 'by either');
  t.ok(settling.isSettling('c', seenAt(dayMs + 3_600_000)), 'of a server whose clock is ahead');
});

t.test(
  'patterns beat what is for all, the last that matches counts, none waits without',
  async t => {
    const { settling } = open(
      { pattern: '*.log', ms: 5000 },
      { pattern: undefined, ms: 1000 },
      { pattern: '/tmp/*.log', ms: 0 },
    );
    t.equal(settling.msFor('docs/a.log'), 5000);
    t.equal(settling.msFor('tmp/a.log'), 0);
    t.equal(settling.msFor('docs/a.txt'), 1000);
    t.notOk(settling.isSettling('tmp/a.log', seenAt(dayMs)));
    const { settling: some } = open({ pattern: '*.log', ms: 5000 });
    t.equal(some.msFor('a.txt'), 0);
    t.notOk(open().settling.isSettling('a', seenAt(dayMs)));
  },
);

t.test('what waits is bounded', async t => {
  const { settling } = open({ pattern: undefined, ms: 1000 });
  for (let i = 0; i <= settlingMax; i++) settling.isSettling(`${i}`, seenAt(dayMs));
  t.equal(settling.waiting(settlingMax * 2).length, settlingMax);
});

t.test('a sweep puts off what is settling, a flush does not wait', async t => {
  const { root, scanner } = openScanner(t, 'settle', {
    settle: [{ pattern: '*.log', ms: dayMs }],
  });
  fs.mkdirSync(root);
  fs.writeFileSync(join(root, 'a.log'), '1');
  fs.writeFileSync(join(root, 'b.txt'), '1');
  const first = sweep(scanner);
  t.same(
    operationsOf(first.changes).map(({ path }) => path),
    ['', 'b.txt'],
  );
  t.match(first.summary, { deferred: 1, settling: 1 });
  t.same(scanner.settling(10), ['a.log']);
  t.match(scanner.explain('a.log'), { state: 'put off', detail: /^--settle: .* for \d+ ms more$/ });
  t.same(operationsOf(sweep(scanner).changes), [], 'it waits on');
  scanner.liftPauses('all');
  const lifted = sweep(scanner);
  t.same(
    operationsOf(lifted.changes).map(({ path }) => path),
    ['a.log'],
  );
  t.match(lifted.summary, { deferred: 0, settling: 0 });
  fs.writeFileSync(join(root, 'c.log'), '1');
  t.match(sweep(scanner).summary, { settling: 1 }, 'and those after wait again');
  fs.rmSync(join(root, 'c.log'));
  t.same(scanner.settling(10), [], 'one that is gone is not named');
});
