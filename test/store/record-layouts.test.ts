// The layouts of both states on disk, and what becomes of a state of another version. Who changes one
// of these raises the schema number: a program that reads the other's bytes wrongly loses trust in
// everything.
import { join } from 'node:path';
import t from 'tap';
import { BlockList } from '../../src/blocks/block-list.ts';
import type { NodeId } from '../../src/snapshot/entry.ts';
import { toName } from '../../src/snapshot/name.ts';
import { StateDatabase } from '../../src/store/database.ts';
import { decodeHead, encodeHead } from '../../src/store/head.ts';
import * as records from '../../src/store/receiver-records.ts';
import { commitKey, ReplicaStore } from '../../src/store/replica-store.ts';
import { SnapshotStore, snapshotSchema } from '../../src/store/snapshot-store.ts';
import { nodeId } from '../support/messages.ts';

const hex = (bytes: Buffer | undefined): string | undefined => bytes?.toString('hex');
const spaceless = (text: string): string => text.replaceAll(/\s/g, '');
const idHex = '00112233445566778899aabbccddeeff';
const list = BlockList.from(Buffer.from(`00ff${idHex}`, 'hex'));
const stamp = { ino: 5n, size: 256n, mtimeNs: -1n, ctimeNs: 7n };
const place = { parent: nodeId(2), name: toName('e\xe9') };

t.test("the receiver's records", async t => {
  const directory = { ...place, ino: 9n };
  t.equal(hex(records.encodeDirectory(directory)), spaceless('000000000002 0000000000000009 65e9'));
  t.strictSame(records.decodeDirectory(records.encodeDirectory(directory)), directory);

  const file = { links: 1, places: [place], stamp, list };
  const fileHex = spaceless(`00000001 0000000000000005 0000000000000100 ffffffffffffffff
    0000000000000007 01 000000000002 02 65e9 00ff ${idHex}`);
  t.equal(hex(records.encodeFile(file)), fileHex);
  t.strictSame(records.decodeFile(Buffer.from(fileHex, 'hex')), file);

  const hints = [
    { id: nodeId(3), block: 4 },
    { id: nodeId(5), block: 0 },
  ];
  t.equal(
    hex(records.encodeHints(hints)),
    spaceless('000000000003 00000004 000000000005 00000000'),
  );
  t.strictSame(records.decodeHints(records.encodeHints(hints)), hints);

  const kept = {
    kind: 'link',
    id: nodeId(6),
    version: 7,
    drift: true,
    timeMs: 8,
    bytes: 9,
  } as const;
  const keptHex = spaceless('02 000000000006 00000007 01 0000000000000008 0000000000000009');
  t.equal(hex(records.encodeKept(kept)), keptHex);
  t.strictSame(records.decodeKept(Buffer.from(keptHex, 'hex')), kept);
  const kinds = (['file', 'directory', 'link', 'foreign'] as const).map(
    kind => records.encodeKept({ ...kept, kind })[0],
  );
  t.strictSame(kinds, [0, 1, 2, 3]);
});

t.test("the receiver's keys and head", async t => {
  t.equal(hex(records.nameKey(nodeId(2), toName('a'))), '00000000000261');
  t.equal(hex(records.idKey(2)), '000000000002');
  t.equal(hex(records.fileKey(nodeId(2), 3)), '00000000000200000003');
  t.equal(hex(records.blockKey(Buffer.from(idHex, 'hex'))), '0011223344556677');
  t.equal(hex(commitKey(258n)), '0000000000000102');
  const digest = Buffer.from(idHex, 'hex');
  const head = { watermark: 1n, digest, entryCount: 2, nextId: nodeId(3), keptNext: 4 };
  const headHex = spaceless(`0000000000000001 ${idHex} 0000000000000002 000000000003 000000000004`);
  t.equal(hex(encodeHead(head)), headHex);
  t.strictSame(decodeHead(Buffer.from(headHex, 'hex')), head);
  t.throws(() => decodeHead(Buffer.alloc(43)), { code: 'ERR_STATE' });
});

t.test("the sender's records", async t => {
  const folder = join(t.testdir(), 'state');
  const store = SnapshotStore.open(folder);
  const id: NodeId = nodeId(3);
  store.transaction(() => {
    store.setDirectory(id, place);
    store.setInode(5n, 6n, [
      { ...place, id },
      { parent: nodeId(4), name: toName('f'), id },
    ]);
    store.setBasis(id, 7, { list, checks: Buffer.alloc(16, 0xcc) });
    store.setRecent(id, place);
  });
  await store.close();
  const tables = ['pages', 'dirs', 'inodes', 'files', 'recent', 'meta'] as const;
  const database = StateDatabase.open({ folder, tables, durable: false });
  t.teardown(() => database.close());
  const rows = tables.flatMap(table =>
    [...database.tables[table].getRange({})].map(
      ({ key, value }) => `${table} ${hex(key)} ${hex(value)}`,
    ),
  );
  t.strictSame(rows, [
    'dirs 000000000003 00000000000265e9',
    'inodes 00000000000000050000000000000006 0000000000020000000000030265e90000000000040000000000030166',
    `files 000000000003 0000000700000001${`00ff${idHex}${'cc'.repeat(16)}`}`,
    'recent 000000000003 00000000000265e9',
    `meta ${hex(Buffer.from('schema'))} 00000002`,
  ]);
});

t.test('a state of another version is refused in clear words, and left as it is', async t => {
  const folder = t.testdir();
  const sender = join(folder, 'sender');
  const store = SnapshotStore.open(sender);
  const next = Buffer.alloc(4);
  next.writeUInt32BE(snapshotSchema + 1);
  store.transaction(() => store.writeMeta('schema', next));
  await store.close();
  for (let i = 0; i < 2; i++) {
    t.throws(() => SnapshotStore.open(sender), {
      code: 'ERR_STATE',
      message: /has schema 3, not 2/,
    });
  }

  const receiver = join(folder, 'receiver');
  const made = ReplicaStore.create({ folder: receiver, durable: false });
  await made.complete();
  const identity = made.database.tables.meta.get(Buffer.from('identity'));
  t.equal(identity?.length, 52);
  const changed = Buffer.from(identity ?? '');
  changed.writeUInt32BE(2);
  await made.database.write(() => {
    made.database.put('meta', Buffer.from('identity'), changed);
  });
  await made.close();
  for (let i = 0; i < 2; i++) {
    await t.rejects(ReplicaStore.open({ folder: receiver, durable: false }), {
      code: 'ERR_STATE',
      message: /state of schema 2, not 1/,
    });
  }
});
