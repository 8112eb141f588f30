import t from 'tap';
import { isLoopbackHost, parseHostPort, parsePort, parseTarget } from '../../src/cli/target.ts';
import { ReplicaError } from '../../src/errors.ts';
import { formatAddress } from '../../src/net/address.ts';

t.test('reads hosts and paths', async t => {
  const rows: [string, unknown][] = [
    ['backup', { kind: 'host', host: 'backup', port: 7375 }],
    ['backup.example.org:80', { kind: 'host', host: 'backup.example.org', port: 80 }],
    ['10.0.0.7', { kind: 'host', host: '10.0.0.7', port: 7375 }],
    ['::1', { kind: 'host', host: '::1', port: 7375 }],
    ['fe80::1:2', { kind: 'host', host: 'fe80::1:2', port: 7375 }],
    ['[::1]', { kind: 'host', host: '::1', port: 7375 }],
    ['[::1]:9', { kind: 'host', host: '::1', port: 9 }],
    ['replica://h', { kind: 'host', host: 'h', port: 7375 }],
    ['replica://h:9/', { kind: 'host', host: 'h', port: 9 }],
    ['REPLICA://[::1]:9/a.b-c_1', { kind: 'host', host: '::1', port: 9, replica: 'a.b-c_1' }],
    ['./dst', { kind: 'path', path: './dst' }],
    ['../dst', { kind: 'path', path: '../dst' }],
    ['/srv/dst', { kind: 'path', path: '/srv/dst' }],
    ['/srv/a:b', { kind: 'path', path: '/srv/a:b' }],
    ['./a:b', { kind: 'path', path: './a:b' }],
    ['dst/', { kind: 'path', path: 'dst/' }],
    ['a/b', { kind: 'path', path: 'a/b' }],
    ['.', { kind: 'path', path: '.' }],
    ['..', { kind: 'path', path: '..' }],
    ['file:dst', { kind: 'path', path: 'dst' }],
    ['file:/srv/dst', { kind: 'path', path: '/srv/dst' }],
    ['file:///srv/a%20b', { kind: 'path', path: '/srv/a b' }],
    ['ssh://u@host/dst', { kind: 'ssh', user: 'u', host: 'host', port: undefined, path: '/dst' }],
    ['SSH://h:22/~/a b', { kind: 'ssh', user: undefined, host: 'h', port: 22, path: '/~/a b' }],
    [
      'ssh://[::1]/x/y',
      { kind: 'ssh', user: undefined, host: '::1', port: undefined, path: '/x/y' },
    ],
    ['ssh://[::1]:9/x', { kind: 'ssh', user: undefined, host: '::1', port: 9, path: '/x' }],
  ];
  for (const [text, target] of rows) t.same(parseTarget(text), target, text);
});

t.test('refuses what would surprise, and says what to write instead', async t => {
  const rows: [string, RegExp][] = [
    ['', /give host, host:port or a path/],
    ['replica://', /give host, host:port/],
    ['replica://h/a/b', /'a\/b' is no name of a replica/],
    ['replica://h/-a', /'-a' is no name/],
    [`replica://h/${'a'.repeat(65)}`, /is no name/],
    ['ssh://host', /write ssh:\/\/user@host\/path/],
    ['ssh://host/', /a folder must follow the host/],
    ['ssh://-oProxyCommand=x/dst', /is not a host name/],
    ['ssh://-l@host/dst', /'-l' is not a user name/],
    ['ssh://a b@host/dst', /is not a user name/],
    ['ssh://host:0/dst', /is not a port/],
    ['ssh://[host/dst', /IPv6/],
    ['s3://bucket/x', /s3:\/\/ is not supported/],
    ['host:/srv/dst', /over ssh it is ssh:\/\/host\/srv\/dst; otherwise the receiver chooses/],
    ['user@host:dst/x', /over ssh it is ssh:\/\/user@host\/~\/dst\/x; otherwise/],
    ['host:~/x', /ssh:\/\/host\/~\/x;/],
    ['host:7375:/x', /ssh:\/\/host\/x;/],
    ['[::1]:/x', /ssh:\/\/host\/path;/],
    ['user@host', /no user names here; give host:port, or over ssh ssh:\/\/user@host\/path/],
    ['host:', /'' is not a port/],
    ['host:0', /'0' is not a port/],
    ['host:65536', /'65536' is not a port/],
    ['host:7375x', /'7375x' is not a port/],
    ['host:1:2', /'1:2' is not a port|IPv6/],
    ['[::1', /IPv6/],
    ['[host]:1', /'host' is not an IPv6 address/],
    ['my folder', /a folder needs a slash: \.\/my folder/],
    ['-host', /is not a host name/],
    ['file:', /a path must follow/],
    ['file://host/x', /file:\/\/\/absolute\/path/],
  ];
  for (const [text, message] of rows) {
    t.throws(() => parseTarget(text), { code: 'ERR_USAGE', message }, text);
  }
  t.throws(() => parseHostPort('a/b'), ReplicaError);
});

t.test('ports are whole numbers from 0 to 65535', async t => {
  t.equal(parsePort('0'), 0);
  t.equal(parsePort('65535'), 65_535);
  for (const text of ['', '-1', '65536', '1e3', ' 1', '0x10', '1.0']) {
    t.equal(parsePort(text), undefined, text);
  }
});

t.test('prints IPv6 in brackets', async t => {
  t.equal(formatAddress('::', 1), '[::]:1');
  t.equal(formatAddress('host', 1), 'host:1');
});

t.test('knows addresses that cannot leave the machine', async t => {
  for (const host of [
    'localhost',
    'LOCALHOST',
    'a.localhost',
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '0:0:0:0:0:0:0:1',
  ]) {
    t.ok(isLoopbackHost(host), host);
  }
  for (const host of [
    'example.org',
    '128.0.0.1',
    '::',
    '::2',
    '1::1',
    'fe80::1',
    '127.example.org',
    '0.0.0.0',
    '::ffff:10.0.0.1',
    '0:0:0:1:0:0:0:1',
    '::11',
  ]) {
    t.notOk(isLoopbackHost(host), host);
  }
});
