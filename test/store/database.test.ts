import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ReplicaError } from '../../src/errors.ts';
import { databaseFault, StateDatabase } from '../../src/store/database.ts';
import { isRoot, mountTmpfs } from '../support/mounts.ts';

const tables = ['names', 'meta'] as const;

async function filled(folder: string, count: number): Promise<void> {
  const db = StateDatabase.open({ folder, tables, durable: true });
  for (let round = 0; round < 4; round++) {
    await db.write(() => {
      for (let i = 0; i < count; i++) {
        const key = Buffer.alloc(8);
        key.writeUInt32BE(i);
        key.writeUInt32BE(round, 4);
        void db.tables.names.put(key, Buffer.alloc(200, round));
      }
    });
  }
  await db.close();
}

t.test('what was written is there after reopening, in byte order of the keys', async t => {
  const folder = t.testdir();
  const db = StateDatabase.open({ folder, tables, durable: true });
  await db.write(() => {
    void db.tables.names.put(Buffer.from([2]), Buffer.from('b'));
    void db.tables.names.put(Buffer.from([1, 0xff]), Buffer.from('a'));
    void db.tables.names.put(Buffer.from([0]), Buffer.alloc(0));
  });
  t.strictSame(db.tables.names.get(Buffer.from([2])), Buffer.from('b'), 'visible once resolved');
  await db.close();
  const again = StateDatabase.open({ folder, tables, durable: true });
  t.teardown(() => again.close());
  const rows = [...again.tables.names.getRange({})].map(({ key, value }) => [
    key.toString('hex'),
    value.toString(),
  ]);
  t.strictSame(rows, [
    ['00', ''],
    ['01ff', 'a'],
    ['02', 'b'],
  ]);
});

t.test('a database cut short at any page is refused before it is mapped', async t => {
  const folder = join(t.testdir(), 'state');
  await filled(folder, 500);
  const path = join(folder, 'data.mdb');
  t.equal(databaseFault(folder), undefined, 'whole');
  const size = fs.statSync(path).size;
  for (const cut of [size - 4096, size >> 1, 8192, 4096, 100, 1]) {
    fs.truncateSync(path, cut);
    t.match(databaseFault(folder), /cut short|damaged/, `cut to ${cut} of ${size}`);
    t.throws(() => StateDatabase.open({ folder, tables, durable: true }), { code: 'ERR_STATE' });
  }
});

t.test('a file that is no database is refused and left as it is', async t => {
  const folder = t.testdir({ 'data.mdb': 'x'.repeat(100_000) });
  t.throws(
    () => StateDatabase.open({ folder, tables, durable: true }),
    new ReplicaError('ERR_STATE', `'${join(folder, 'data.mdb')}' is not a database`),
  );
  t.equal(fs.readFileSync(join(folder, 'data.mdb'), 'utf8'), 'x'.repeat(100_000));
});

const skip = isRoot ? false : 'only root may mount';
t.test('a full file system is refused before the library meets it', { skip }, async t => {
  const point = mountTmpfs(t, '4m');
  const folder = join(point, 'state');
  const db = StateDatabase.open({ folder, tables, durable: true });
  const { meta } = db.tables;
  const key = Buffer.from('key');
  db.transact(() => meta.putSync(key, Buffer.from('1')));
  const fill = join(point, 'fill');
  t.throws(() => fs.writeFileSync(fill, Buffer.alloc(5_000_000)), { code: 'ENOSPC' });
  const full = {
    code: 'ERR_IO',
    message: 'cannot write the state: its file system is full: make room',
  };
  await t.rejects(
    db.write(() => void meta.put(key, Buffer.from('2'))),
    full,
  );
  t.throws(() => db.transact(() => meta.putSync(key, Buffer.from('3'))), full);
  const other = join(point, 'other');
  t.throws(() => StateDatabase.open({ folder: other, tables, durable: true }), full);
  t.strictSame(meta.get(key), Buffer.from('1'));
  await db.close();

  const again = StateDatabase.open({ folder, tables, durable: true });
  t.teardown(() => again.close());
  t.strictSame(again.tables.meta.get(key), Buffer.from('1'), 'it can be read');
  fs.rmSync(fill);
  const room = Buffer.alloc(3_500_000);
  await t.rejects(
    again.write(() => void again.tables.meta.put(key, room), [room]),
    full,
    'by what is to be written',
  );
  await again.write(() => void again.tables.meta.put(key, Buffer.from('4')));
  t.strictSame(again.tables.meta.get(key), Buffer.from('4'));
});

t.test('it is written to also when the way to its folder is closed, or gone', async t => {
  const folder = t.testdir({ above: { state: {} } });
  const above = join(folder, 'above');
  const db = StateDatabase.open({ folder: join(above, 'state'), tables, durable: true });
  t.teardown(() => db.close());
  const key = Buffer.from([1]);
  const put = (text: string): Promise<void> =>
    db.write(() => db.put('names', key, Buffer.from(text)), [Buffer.from(text)]);
  // Root goes through; nobody finds what is called otherwise.
  fs.chmodSync(above, 0);
  await put('closed').finally(() => fs.chmodSync(above, 0o700));
  t.equal(db.tables.names.get(key)?.toString(), 'closed');
  fs.renameSync(above, join(folder, 'elsewhere'));
  await put('gone');
  t.equal(db.tables.names.get(key)?.toString(), 'gone');
});
