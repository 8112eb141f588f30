import t from 'tap';
import { CreditMeter } from '../../src/net/credit-meter.ts';

t.test('counts what is in flight', async t => {
  const meter = new CreditMeter();
  meter.sent(1000, 0);
  meter.sent(500, 0);
  t.equal(meter.inFlightBytes, 1500);
  meter.credited(1200n, 10);
  t.equal(meter.inFlightBytes, 300);
  meter.credited(1500n, 10);
  t.equal(meter.inFlightBytes, 0);
});

t.test('measures the rate only while something is in flight', async t => {
  const meter = new CreditMeter();
  t.equal(meter.bytesPerSecond, 0);
  for (let i = 0; i < 10; i++) {
    const start = i * 60_000;
    meter.sent(100_000, start);
    meter.credited(BigInt((i + 1) * 100_000), start + 100);
  }
  t.equal(meter.bytesPerSecond, 1_000_000);
});

t.test('a new rate weighs in gradually', async t => {
  const meter = new CreditMeter();
  meter.sent(300, 0);
  meter.credited(100n, 100);
  t.equal(meter.bytesPerSecond, 1000);
  meter.credited(300n, 200);
  t.equal(meter.bytesPerSecond, 1250);
});

t.test('refuses credit that cannot be', async t => {
  const meter = new CreditMeter();
  meter.sent(100, 0);
  t.throws(() => meter.credited(101n, 1), { code: 'ERR_PROTOCOL' });
  meter.credited(50n, 1);
  t.throws(() => meter.credited(49n, 1), { code: 'ERR_PROTOCOL' });
  t.throws(() => meter.credited(2n ** 64n - 1n, 1), { code: 'ERR_PROTOCOL' });
  t.equal(meter.inFlightBytes, 50);
});
