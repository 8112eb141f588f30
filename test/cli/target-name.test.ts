import t from 'tap';
import { pairKey } from '../../src/cli/config-file.ts';
import { parseTarget } from '../../src/cli/target.ts';
import { targetName } from '../../src/cli/target-name.ts';

t.test('a target has one name, however it is written', async t => {
  const rows: readonly (readonly [string, string])[] = [
    ['host', 'host:7375'],
    ['host:7375', 'host:7375'],
    ['[::1]:9', '[::1]:9'],
    ['[fe80::1%eth0]:9', '[fe80::1%eth0]:9'],
    ['ssh://me@host/srv/a', 'ssh://me@host/srv/a'],
    ['ssh://2001:db8::1/a', 'ssh://[2001:db8::1]/a'],
    ['SSH://[::1]:22/~/a', 'ssh://[::1]:22/~/a'],
    ['/srv/a', 'file:/srv/a'],
    ['./a', 'file:/here/a'],
    ['file:a', 'file:/here/a'],
  ];
  for (const [text, name] of rows) t.equal(targetName(parseTarget(text), '/here'), name, text);
});

t.test('pairs of trees are told apart by host, user and folder', async t => {
  const key = (target: string): string => pairKey({ source: '/src', target }, '/here');
  const targets = [
    ...['host', 'host:1', '/srv/a', './srv/a'],
    ...['ssh://host/srv/a', 'ssh://other/srv/a', 'ssh://me@host/srv/a', 'ssh://host:22/srv/a'],
  ];
  t.equal(new Set(targets.map(key)).size, targets.length);
  t.equal(key('HOST'), key('host'));
});
