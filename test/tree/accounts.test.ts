import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
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
  const look = (database: string, key: string): undefined => {
    asked.push(`${database} ${key}`);
  };
  const accounts = new Accounts({ look });
  t.equal(accounts.nameOf('user', 0), '');
  t.equal(accounts.nameOf('group', noId), '');
  t.strictSame(asked, []);
});

t.test('each is asked for once, and no more than some', async t => {
  let count = 0;
  const look = (_: string, key: string): string => {
    count++;
    return `u${key}:x:${key}:1::/:/bin/sh`;
  };
  const accounts = new Accounts({ look });
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

t.test('after one answer that does not come nothing is asked for a minute', async t => {
  let nowMs = 1000;
  let asked = 0;
  let isHung = true;
  const look = (_: string, key: string): string => {
    asked++;
    if (isHung) throw new Error('ETIMEDOUT');
    return `u${key}:x:${key}:1::/:/bin/sh`;
  };
  const accounts = new Accounts({ look, nowMs: () => nowMs });
  const names = (): string[] => [7, 8, 9].map(id => accounts.nameOf('user', id));
  t.strictSame(names(), ['', '', '']);
  isHung = false;
  nowMs += 59_999;
  t.strictSame(names(), ['', '', ''], 'numbers count meanwhile');
  t.equal(asked, 1);
  nowMs += 1;
  t.strictSame(names(), ['u7', 'u8', 'u9'], 'and what was not learned is asked for later');
});

t.test('a getent that hangs is given up; without one the files are read', async t => {
  const folder = t.testdir({ getent: '#!/bin/sh\nexec sleep 60\n' });
  chmodSync(`${folder}/getent`, 0o755);
  const path = process.env.PATH;
  t.teardown(() => {
    process.env.PATH = path;
  });
  process.env.PATH = `${folder}:${path}`;
  const hung = new Accounts();
  t.equal(hung.nameOf('user', 1), '');
  t.equal(hung.nameOf('user', 2), '', 'asked for nothing more: two of these would be 10 s');
  process.env.PATH = `${folder}/nothing`;
  const line =
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find(one => !one.includes(':0:')) ?? '';
  const [name = '', , id] = line.split(':');
  t.equal(new Accounts().nameOf('user', Number(id)), name);
  t.equal(new Accounts().idOf('user', name), Number(id));
});
