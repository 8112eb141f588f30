import t from 'tap';
import { openProgress, ProgressText } from '../../src/cli/progress.ts';
import type { SenderStatus } from '../../src/sender/status-board.ts';
import { TextSink } from '../support/run-cli.ts';

const inSync: SenderStatus = {
  state: 'in sync',
  reason: '',
  peer: 'host:7375',
  inSync: true,
  lagMs: 0,
  entries: 1200,
  special: 0,
  outstanding: 0,
  watermark: 3,
  commits: 3,
  operations: 1200,
  bytesSent: 0,
  bytesReused: 0,
  wireBytes: 0,
  held: undefined,
  drift: 0,
  problems: [],
  poll: undefined,
};

t.test('what is under way, how fast, and how long that will take', async t => {
  const text = new ProgressText();
  const syncing = { ...inSync, state: 'syncing', inSync: false, outstanding: 900 } as const;
  const first = text.line({ ...syncing, operations: 100, wireBytes: 1_000_000 }, 10_000);
  t.equal(first, '1200 entries found; 100 changes durable, 900 under way');
  const later = { ...syncing, operations: 300, outstanding: 700, wireBytes: 5_000_000 };
  t.equal(
    text.line(later, 12_000),
    '1200 entries found; 300 changes durable, 700 under way; 2.00 MB/s; 100 changes/s; 7 s left',
  );
  // The rate is that of the last seconds, not of all time.
  for (let s = 13; s < 40; s++) text.line({ ...later, wireBytes: 5_000_000 }, s * 1000);
  t.match(text.line(later, 40_000), /; 0 B\/s$/);
  // Another connection counts from 0.
  t.notMatch(text.line({ ...later, wireBytes: 10 }, 41_000), /B\/s/);
});

t.test('an idle push says one thing, and changes it once a minute', async t => {
  const text = new ProgressText();
  const lines = new Set<string>();
  for (let ms = 0; ms < 59_000; ms += 1000) lines.add(text.line(inSync, ms));
  t.same([...lines], ['in sync: 1200 entries']);
  t.equal(text.line(inSync, 61_000), 'in sync for 1 min: 1200 entries');
  t.equal(text.line(inSync, 119_000), 'in sync for 1 min: 1200 entries');
  t.equal(text.line(inSync, 7_200_000), 'in sync for 2 h: 1200 entries');
});

t.test('each other state is named with its reason', async t => {
  const text = new ProgressText();
  const line = (state: SenderStatus['state'], reason = '') =>
    text.line({ ...inSync, state, reason, inSync: false }, 0);
  t.equal(line('connecting'), 'connecting');
  t.equal(line('connecting', 'nothing listens'), 'connecting again: nothing listens');
  t.equal(line('comparing'), 'comparing with what the receiver has');
  t.equal(line('paused'), "paused: 'replica resume' goes on");
  t.equal(line('source gone', 'not there'), 'source gone: not there');
  t.equal(line('deletes held', 'too many'), 'deletes held: too many');
  t.equal(line('syncing'), 'looking at 1200 entries');
});

t.test('the line is written once, cut to the terminal, and taken away at the end', async t => {
  const terminal: TextSink & { columns?: number } = new TextSink();
  terminal.isTTY = true;
  terminal.columns = 20;
  const progress = await openProgress(terminal);
  progress.follow(() => ({ ...inSync, state: 'paused' }));
  t.match(terminal.text, "paused: 'replica re");
  t.notMatch(terminal.text, 'resume');
  const { length } = terminal.text;
  progress.clear();
  t.ok(terminal.text.length > length, 'it is erased');
  progress.clear();
  const erased = terminal.text.length;
  progress.clear();
  t.equal(terminal.text.length, erased, 'and not erased twice');
  progress.stop();
});
