import t from 'tap';
import { readSettle } from '../../src/cli/settle.ts';
import { readSize } from '../../src/cli/size.ts';

const size = (value: string): number => readSize({ value, origin: '--max-size' });

t.test('sizes as rsync takes them', async t => {
  const cases: readonly (readonly [string, number])[] = [
    ['1', 1],
    ['1000', 1000],
    ['10b', 10],
    ['1k', 1024],
    ['1KiB', 1024],
    ['1KB', 1000],
    ['1.5M', 1.5 * 1024 ** 2],
    ['2g', 2 * 1024 ** 3],
    ['2G-1', 2 * 1024 ** 3 - 1],
    ['1t', 1024 ** 4],
    [' 1P+1 ', 1024 ** 5 + 1],
  ];
  for (const [text, bytes] of cases) t.equal(size(text), bytes, text);
  for (const text of ['', '0', '-1', '1x', '1-1', '1.5.5', '9007199254740992', 'K', '1 K', '99P']) {
    t.throws(() => size(text), {
      code: 'ERR_USAGE',
      message: /^--max-size: .* is no size such as/,
    });
  }
});

t.test('--settle for all, and by pattern', async t => {
  t.same(readSettle(['2s', '*.log=5s', 'a=b=1m']), [
    { pattern: undefined, ms: 2000 },
    { pattern: '*.log', ms: 5000 },
    { pattern: 'a=b', ms: 60_000 },
  ]);
  for (const text of ['', 'soon', '*.log', '*.log=', '=5s', '25h']) {
    t.throws(() => readSettle([text]), { code: 'ERR_USAGE', message: /^--settle: / }, text);
  }
});
