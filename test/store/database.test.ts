import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ReplicaError } from '../../src/errors.ts';
import { databaseFault, StateDatabase } from '../../src/store/database.ts';

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
