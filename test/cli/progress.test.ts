import t from 'tap';
import { openProgress, ProgressText } from '../../src/cli/progress.ts';
import type { ContentFigures } from '../../src/sender/content-gauge.ts';
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

const nothing = {
  ...{ bytesDone: 0, bytesLeft: 0, bytesPerSecond: 0, isPartial: false, file: undefined },
} as const;

t.test('what is under way in bytes, how fast, how long, and which large file', async t => {
  const text = new ProgressText();
  const syncing = { ...inSync, state: 'syncing', inSync: false, operations: 300 } as const;
  const line = (content: Partial<ContentFigures>, outstanding = 2): string =>
    text.line({ ...syncing, outstanding, content: { ...nothing, ...content } }, 10_000);
  const begun = { bytesDone: 1_200_000_000, bytesLeft: 3_090_000_000 };
  const counts = '300 changes durable, 2 under way';
  t.equal(line(begun), `27%: 1.20 GB of 4.29 GB; ${counts}`);
  const fast = { ...begun, bytesPerSecond: 85_200_000 };
  t.equal(line(fast), `27%: 1.20 GB of 4.29 GB; 85.2 MB/s; 37 s left; ${counts}`);
  const file = { path: 'a/big.iso', size: 4_000_000_000, bytesDone: 1_130_000_000 };
  t.equal(
    line({ ...fast, file }),
    `27%: 1.20 GB of 4.29 GB; 85.2 MB/s; 37 s left; big.iso 28%; ${counts}`,
  );
  // Nobody knows how long the rest takes before it is found.
  const partial = { ...fast, isPartial: true };
  t.equal(line(partial), `1.20 GB of 4.29 GB found so far; 85.2 MB/s; ${counts}`);
  const all = { ...fast, bytesDone: 4_290_000_000, bytesLeft: 0 };
  t.equal(line(all), `4.29 GB sent, making 2 changes durable; ${counts}`);
  t.match(line({ bytesDone: 9999, bytesLeft: 1 }), /^99%: 10.0 kB of 10.0 kB;/, 'not all of it');
});

t.test('changes without content are counted: how fast, and how long that will take', async t => {
  const text = new ProgressText();
  const syncing = { ...inSync, state: 'syncing', inSync: false, content: nothing } as const;
  const first = text.line({ ...syncing, operations: 100, outstanding: 900 }, 10_000);
  t.equal(first, '100 changes durable, 900 under way');
  const later = { ...syncing, operations: 300, outstanding: 700 };
  t.equal(text.line(later, 12_000), '300 changes durable, 700 under way; 100 changes/s; 7 s left');
  // The rate is that of the last seconds, not of all time.
  for (let s = 13; s < 40; s++) text.line(later, s * 1000);
  t.equal(text.line(later, 40_000), '300 changes durable, 700 under way');
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
  const first = { ...inSync, state: 'syncing', inSync: false, entries: 0 } as const;
  t.equal(text.line(first, 0), 'looking at the source');
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

t.test('a wide character takes two columns', async t => {
  const terminal: TextSink & { columns?: number } = new TextSink();
  terminal.isTTY = true;
  terminal.columns = 18;
  const progress = await openProgress(terminal);
  progress.follow(() => ({ ...inSync, state: 'deletes held', reason: '写真データ' }));
  progress.stop();
  t.match(terminal.text, 'deletes held: 写');
  t.notMatch(terminal.text, '真');
});
