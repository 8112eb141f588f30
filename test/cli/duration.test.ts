import t from 'tap';
import { formatDuration, parseDuration } from '../../src/cli/duration.ts';

t.test('reads durations as people write them', async t => {
  const rows: [string, number][] = [
    ['0', 0],
    ['500', 500],
    ['500ms', 500],
    ['2s', 2000],
    ['1.5s', 1500],
    ['0.0005s', 1],
    ['3m', 180_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
    [' 5s ', 5000],
  ];
  for (const [text, ms] of rows) t.equal(parseDuration(text), ms, text);
});

t.test('refuses everything else', async t => {
  const rows = [
    '',
    'abc',
    '-1',
    '1 s',
    '2S',
    '5sec',
    '1e3',
    '.5s',
    '5.',
    '1s2s',
    'NaN',
    'Infinity',
  ];
  for (const text of [...rows, '999999999999999d', '0x10', '1,5s']) {
    t.equal(parseDuration(text), undefined, text);
  }
});

t.test('writes them short', async t => {
  const rows: [number, string][] = [
    [0, '0 ms'],
    [350.4, '350 ms'],
    [2000, '2 s'],
    [1540, '1.5 s'],
    [90_000, '1.5 min'],
    [86_400_000, '24 h'],
  ];
  for (const [ms, text] of rows) t.equal(formatDuration(ms), text);
});
