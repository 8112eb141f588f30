import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type Log, silentLog } from '../../src/log.ts';
import { LocalAttributes } from '../../src/receiver/local-attributes.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { receiverDefaults } from '../../src/receiver/receiver-options.ts';
import { type Entry, noStamp, rootId } from '../../src/snapshot/entry.ts';
import { noId, type Owner } from '../../src/snapshot/owner.ts';
import { Accounts } from '../../src/tree/accounts.ts';
import { SystemError } from '../../src/tree/system-error.ts';
import { FakeSender } from '../support/fake-sender.ts';
import { isPrivileged, makeDiskFolder } from '../support/folders.ts';
import { nodeId } from '../support/messages.ts';
import { until } from '../support/until.ts';

function owned(owner: Owner | undefined, mode = 0o644): Entry {
  return {
    ...{ kind: 'file', id: nodeId(2), mode, size: 0, mtimeNs: 0n, stamp: noStamp, version: 1 },
    ...{ target: '', owner },
  };
}

const lines: string[] = [];
const log: Log = {
  ...silentLog,
  warn: (fields: object, text: string) => void lines.push(`${JSON.stringify(fields)} ${text}`),
};
const known = new Map([
  ['passwd ann', 'ann:x:501:20::/home/ann:/bin/sh'],
  ['group staff', 'staff:x:601:'],
  ['passwd toor', 'toor:x:0:0::/root:/bin/sh'],
]);
const accounts = new Accounts({ look: (database, key) => known.get(`${database} ${key}`) });

/** What chown was called with, for a file of nobody. */
function calls(
  attributes: LocalAttributes,
  entry: Entry,
  fail?: Error,
): { asked: [number, number][]; isCleared: boolean } {
  const asked: [number, number][] = [];
  const now = { ...fs.statSync('.', { bigint: true }), uid: 65_534n, gid: 65_534n };
  const isCleared = attributes.setOwner(entry, now as fs.BigIntStats, (uid, gid) => {
    asked.push([uid, gid]);
    if (fail) throw fail;
  });
  return { asked, isCleared };
}

t.test('a name counts where it is known, the number of the source otherwise', async t => {
  const attributes = new LocalAttributes({ specialBits: false, setsOwners: true, log, accounts });
  const rows: [Owner | undefined, [number, number][]][] = [
    [{ uid: 1001, gid: 1002, user: 'ann', group: 'staff' }, [[501, 601]]],
    [{ uid: 1001, gid: 1002, user: '', group: '' }, [[1001, 1002]]],
    [{ uid: 1001, gid: 1002, user: 'bob', group: 'wheel' }, [[1001, 1002]]],
    [{ uid: 1001, gid: noId, user: 'toor', group: '' }, [[0, -1]]],
    [{ uid: noId, gid: 0, user: '', group: '' }, [[-1, 0]]],
    [{ uid: 65_534, gid: noId, user: '', group: '' }, []],
    [undefined, []],
  ];
  for (const [owner, asked] of rows) {
    t.strictSame(calls(attributes, owned(owner)).asked, asked, JSON.stringify(owner));
  }
});

t.test('where owners cannot be set none is looked up, and none is missed', async t => {
  const look = (): never => t.fail('asked') as never;
  const options = { specialBits: false, setsOwners: false, log };
  const attributes = new LocalAttributes({ ...options, accounts: new Accounts({ look }) });
  const entry = owned({ uid: 1001, gid: 1002, user: 'ann', group: 'staff' });
  t.strictSame(calls(attributes, entry).asked, []);
  t.equal(attributes.hasOwner(entry, fs.statSync('.', { bigint: true })), true);
});

t.test('setuid and setgid bits are set again after it', async t => {
  const attributes = new LocalAttributes({ specialBits: true, setsOwners: true, log, accounts });
  const plain = new LocalAttributes({ specialBits: false, setsOwners: true, log, accounts });
  const owner = { uid: 1, gid: 2, user: '', group: '' };
  t.equal(calls(attributes, owned(owner, 0o4755)).isCleared, true);
  t.equal(calls(attributes, owned(owner, 0o755)).isCleared, false);
  t.equal(calls(plain, owned(owner, 0o4755)).isCleared, false, 'there are none');
  t.equal(calls(attributes, owned(undefined, 0o4755)).isCleared, false, 'nothing was done');
});

t.test('what this machine does not allow is said once, and left', async t => {
  for (const code of ['EPERM', 'EINVAL']) {
    lines.length = 0;
    const attributes = new LocalAttributes({ specialBits: false, setsOwners: true, log, accounts });
    const entry = owned({ uid: 1, gid: 2, user: '', group: '' });
    const error = new SystemError(code, 'no');
    t.equal(calls(attributes, entry, error).asked.length, 1);
    t.strictSame(calls(attributes, entry, error).asked, [], 'not tried again');
    t.equal(lines.length, 1);
    t.match(lines[0], `"code":"${code}"`);
    const other = owned({ uid: 3, gid: 2, user: '', group: '' });
    t.equal(calls(attributes, other, error).asked.length, 1, 'another one is');
    const failure = new SystemError('EIO', 'no');
    const third = owned({ uid: 4, gid: 2, user: '', group: '' });
    t.throws(() => calls(attributes, third, failure), { code: 'EIO' }, 'a disk that fails');
  }
});

const isRoot = { skip: !isPrivileged && 'files can be given away by root only' };

t.test('an owner that was changed behind our back is put back', isRoot, async t => {
  const root = makeDiskFolder(t);
  const receiver = await Receiver.open({
    ...{ ...receiverDefaults, root, fsync: 'off', log: silentLog },
    pauses: { firstSliceMs: 1, sliceMs: 1, sweepMs: 1, cleanMs: 1000 },
  });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  t.teardown(() => sender.close());
  const owner = { uid: 4001, gid: 4002, user: '', group: '' };
  const folder = sender.directory(rootId, 'folder', { owner });
  const file = sender.file(rootId, 'file', 'content', { owner });
  await sender.commit([folder, file]);
  const owners = (): string[] =>
    ['folder', 'file'].map(name => {
      const { uid, gid } = fs.statSync(join(root, name));
      return `${uid}:${gid}`;
    });
  t.strictSame(owners(), ['4001:4002', '4001:4002']);
  fs.chownSync(join(root, 'folder'), 1, 1);
  fs.chownSync(join(root, 'file'), 1, 1);
  await until(() => owners().every(text => text === '4001:4002'));
  t.equal(receiver.driftCount, 0, 'its content is what it was');
  t.equal(fs.readFileSync(join(root, 'file'), 'utf8'), 'content');
});
