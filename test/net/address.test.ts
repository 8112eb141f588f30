import t from 'tap';
import { callerOf, formatAddress, isLoopbackAddress } from '../../src/net/address.ts';

t.test('knows what cannot leave this machine', async t => {
  for (const address of ['127.0.0.1', '127.9.8.7', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1']) {
    t.equal(isLoopbackAddress(address), true, address);
  }
  const others = [
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '128.0.0.1',
    '::2',
    '1::1',
    'fe80::1',
    '1::',
    '::1:0:1',
  ];
  for (const address of [...others, '::ffff:10.0.0.1', 'localhost', '', '127.evil.example']) {
    t.equal(isLoopbackAddress(address), false, address);
  }
});

t.test('a caller is an IPv4 address or the /64 of an IPv6 one', async t => {
  const rows: [string, string][] = [
    ['10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::9', '2001:db8:1:2'],
    ['2001:DB8:01:2::', '2001:db8:1:2'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
  ];
  for (const [address, caller] of rows) t.equal(callerOf(address), caller, address);
});

t.test('writes host and port', async t => {
  t.equal(formatAddress('host', 1), 'host:1');
  t.equal(formatAddress('10.0.0.1', 1), '10.0.0.1:1');
  t.equal(formatAddress('::ffff:10.0.0.1', 1), '10.0.0.1:1');
  t.equal(formatAddress('::1', 7375), '[::1]:7375');
  t.equal(formatAddress('fe80::1%eth0', 7375), '[fe80::1%eth0]:7375');
});
