// An intent is written by one version of the program and may be read by the next, after a crash.
import t from 'tap';
import { BlockList } from '../../src/blocks/block-list.ts';
import { decodeSteps, encodeSteps, type Step } from '../../src/receiver/steps.ts';
import type { Entry } from '../../src/snapshot/entry.ts';
import { noStamp } from '../../src/snapshot/entry.ts';
import { encodeEntry } from '../../src/snapshot/entry-codec.ts';
import { toName } from '../../src/snapshot/name.ts';
import { nodeId } from '../support/messages.ts';

const idHex = '00112233445566778899aabbccddeeff';
const name = toName('n');
const parent = nodeId(2);
const entry: Entry = {
  kind: 'file',
  id: nodeId(3),
  mode: 0o644,
  size: 256,
  mtimeNs: 1n,
  stamp: noStamp,
  version: 4,
  target: '',
};
const folder: Entry = { ...entry, kind: 'directory', size: 0, version: 0 };
const entryHex = encodeEntry(name, entry).toString('hex');
const folderHex = encodeEntry(name, folder).toString('hex');
const staged = { name: toName('s'), ino: 9n };
const list = BlockList.from(Buffer.from(`00ff${idHex}`, 'hex'));

const content = {
  ...staged,
  isWithin: true,
  mtimeNs: -1n,
  ctimeNs: 8n,
  list,
  fresh: [{ from: 0, count: 1 }],
};
const contentHex = `01 73 0000000000000009 01 ffffffffffffffff 0000000000000008
  00000012 00ff ${idHex} 00000001 00000000 00000001`;

const rows: readonly (readonly [Step, string])[] = [
  [
    { kind: 'directory', index: 1, parent, name, entry: folder, staged },
    `01 00000001 000000000002 ${folderHex} 01 73 0000000000000009`,
  ],
  [
    { kind: 'link', index: 1, parent, name, entry: folder, staged },
    `02 00000001 000000000002 ${folderHex} 01 73 0000000000000009`,
  ],
  [
    { kind: 'file', index: 1, parent, name, entry, staged: content },
    `03 00000001 000000000002 ${entryHex} ${contentHex}`,
  ],
  [{ kind: 'hardlink', index: 1, parent, name, entry }, `04 00000001 000000000002 ${entryHex}`],
  [
    { kind: 'rename', index: 1, parent, name, entry, fromParent: nodeId(5), fromName: toName('o') },
    `05 00000001 000000000002 ${entryHex} 000000000005 01 6f`,
  ],
  [
    { kind: 'remove', index: 1, parent, name, id: nodeId(3) },
    '06 00000001 000000000002 01 6e 000000000003',
  ],
  [{ kind: 'attributes', index: 1, parent, name, entry }, `07 00000001 000000000002 ${entryHex}`],
];

t.test('each step of an intent has a fixed layout', async t => {
  for (const [step, hex] of rows) {
    const bytes = encodeSteps([step]);
    t.equal(bytes.toString('hex'), `00000001${hex.replaceAll(/\s/g, '')}`, step.kind);
    t.strictSame(decodeSteps(bytes), [step], step.kind);
  }
});
