import t from 'tap';
import { Bandwidth, parseBandwidth, rateAt, readBandwidth } from '../../src/cli/bandwidth.ts';

const unlimited = Number.POSITIVE_INFINITY;
/** A Wednesday, local time. */
const at = (hours: number, minutes = 0): Date => new Date(2026, 10, 25, hours, minutes);

t.test('a rate is in KiB a second, or in its unit', async t => {
  const rates: readonly (readonly [string, number])[] = [
    ['512', 512 * 1024],
    ['1.5m', 1.5 * 1024 * 1024],
    ['1.5M', 1.5 * 1024 * 1024],
    ['2MiB', 2 * 1024 * 1024],
    ['2MB', 2_000_000],
    ['100kB', 100_000],
    ['1G', 1024 ** 3],
    ['65536b', 65_536],
    ['16', 16 * 1024],
    ['0', unlimited],
    ['off', unlimited],
    ['OFF', unlimited],
  ];
  for (const [text, rate] of rates) {
    t.equal(rateAt(parseBandwidth(text, '--bwlimit'), at(12)), rate, text);
  }
  t.equal(rateAt(readBandwidth(undefined), at(12)), unlimited);
});

t.test('a timetable holds from each of its times to the next, around the week', async t => {
  const plan = parseBandwidth('08:00,512 12:30,10M 19:00,off Sat-00:00,1M', '--bwlimit');
  const rows: readonly (readonly [Date, number])[] = [
    [at(7, 59), unlimited],
    [at(8), 512 * 1024],
    [at(12, 29), 512 * 1024],
    [at(12, 30), 10 * 1024 * 1024],
    [at(19), unlimited],
    [new Date(2026, 10, 28, 3), 1024 * 1024],
    [new Date(2026, 10, 28, 9), 512 * 1024],
    // Sunday, before its first step: Saturday's last.
    [new Date(2026, 10, 29, 3), unlimited],
  ];
  for (const [time, rate] of rows) t.equal(rateAt(plan, time), rate, time.toString());
  const monday = parseBandwidth('Mon-08:00,64', '--bwlimit');
  t.equal(rateAt(monday, at(3)), 64 * 1024, 'one step holds for the whole week');
});

t.test('what is no rate is refused', async t => {
  for (const text of [
    '',
    'fast',
    '-5',
    '1.5.2',
    '10X',
    '8:60,512',
    '24:00,1',
    'Xyz-08:00,1',
    '8,9',
  ]) {
    t.throws(() => parseBandwidth(text, '--bwlimit'), { code: 'ERR_USAGE' }, text);
  }
  t.throws(() => parseBandwidth('15', '--bwlimit'), { message: /below the least of 16/ });
});

t.test('the throttle follows the plan, and a new plan at once', async t => {
  let now = at(7, 59);
  using bandwidth = new Bandwidth(parseBandwidth('08:00,512 19:00,off', 'x'), () => now);
  t.equal(bandwidth.throttle.bytesPerSecond, unlimited);
  now = at(8);
  bandwidth.check();
  t.equal(bandwidth.throttle.bytesPerSecond, 512 * 1024);
  bandwidth.plan = parseBandwidth('1M', 'x');
  t.equal(bandwidth.throttle.bytesPerSecond, 1024 * 1024);
  t.equal(bandwidth.text, '1M');
});
