import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { noId } from '../../src/snapshot/owner.ts';
import { Accounts } from '../../src/tree/accounts.ts';

t.test('accounts of this machine are found by name and by number', async t => {
  const accounts = new Accounts();
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  const [name = '', , id] =
    lines.map(line => line.split(':')).find(([, , uid]) => uid !== '0') ?? [];
  t.not(name, '', 'there is somebody but root');
  t.equal(accounts.nameOf('user', Number(id)), name);
  t.equal(accounts.idOf('user', name), Number(id));
  const group = execFileSync('id', ['-gn', name], { encoding: 'utf8' }).trim();
  const gid = Number(execFileSync('id', ['-g', name], { encoding: 'utf8' }));
  t.equal(accounts.nameOf('group', gid), group);
  t.equal(accounts.idOf('group', group), gid);
});

t.test('what is no account here has no name and no number', async t => {
  const accounts = new Accounts();
  t.equal(accounts.nameOf('user', 3_999_999_999), '');
  t.equal(accounts.nameOf('group', 3_999_999_999), '');
  for (const name of ['no such user', '--help', '-s', '0', '33', 'root:x', '\xe9', '', 'a\nb']) {
    t.equal(accounts.idOf('user', name), undefined, JSON.stringify(name));
    t.equal(accounts.idOf('group', name), undefined, JSON.stringify(name));
  }
});

t.test('root needs no name, and who is not kept has none', async t => {
  const asked: string[] = [];
  const accounts = new Accounts((database, key) => {
    asked.push(`${database} ${key}`);
    return undefined;
  });
  t.equal(accounts.nameOf('user', 0), '');
  t.equal(accounts.nameOf('group', noId), '');
  t.strictSame(asked, []);
});

t.test('each is asked for once, and no more than some', async t => {
  let count = 0;
  const accounts = new Accounts((_, key) => {
    count++;
    return `u${key}:x:${key}:1::/:/bin/sh`;
  });
  const ids = Array.from({ length: 5000 }, (_, i) => i + 1);
  const expected = ids.map(id => (id <= 4096 ? `u${id}` : ''));
  for (let round = 0; round < 2; round++) {
    t.strictSame(
      ids.map(id => accounts.nameOf('user', id)),
      expected,
      'the rest go by their numbers',
    );
  }
  t.equal(count, 4096, 'a peer that names many does not start a process for each');
});
