import t from 'tap';
import { ReplicaError } from '../../src/errors.ts';
import { type Entry, noStamp } from '../../src/snapshot/entry.ts';
import { decodeMessage, encodedSize, encodeMessage } from '../../src/wire/codec.ts';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { helloOf, name, nodeId, randomMessage, welcome } from '../support/messages.ts';
import { randomBytes, randomInteger, seededRandom } from '../support/random.ts';

const file: Entry = {
  kind: 'file',
  id: nodeId(5),
  mode: 0o644,
  size: 3,
  mtimeNs: 6n,
  stamp: noStamp,
  version: 1,
  target: '',
};
const folder: Entry = { ...file, kind: 'directory', size: 0, version: 0 };
const id = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const idHex = id.toString('hex');

/** kind, mode, id 5, size, mtime 6, no stamp, version, one-letter name, no target. */
function entryHex(kind: string, size: string, version: string, letter: string): string {
  const zeroes = '0'.repeat(48);
  return `${kind}01a4000000000005${size}0000000000000006${zeroes}${version}01${letter}0000`;
}
const fileHex = (letter: string) => entryHex('01', '0000000000000003', '00000001', letter);
const folderHex = (letter: string) => entryHex('02', '0000000000000000', '00000000', letter);

/** The same without a name, and with id 1. */
const rootHex = `0201a4000000000001${'0'.repeat(16)}0000000000000006${'0'.repeat(56)}000000`;

const golden: [Message, string][] = [
  [
    helloOf('sender', { minor: 2, features: 3n, takeOver: true, label: 'é' }),
    `52504c43 0001 0002 0000000000000003 01 01 ${'aa'.repeat(16)} ${'bb'.repeat(16)} 0002 c3a9`,
  ],
  [
    helloOf('sender', { label: 'é', replica: 'docs' }),
    `52504c43 0001 0000 0000000000000000 01 00 ${'aa'.repeat(16)} ${'bb'.repeat(16)} 0002 c3a9 0004 646f6373`,
  ],
  [
    helloOf('receiver', { label: '' }),
    `52504c43 0001 0000 0000000000000000 02 00 ${'aa'.repeat(16)} ${'bb'.repeat(16)} 0000`,
  ],
  [
    welcome,
    `${'cc'.repeat(16)} 0000000000000007 ${'dd'.repeat(16)} 0000000000000008 000000000009 ${'ee'.repeat(32)}`,
  ],
  [{ type: MessageType.Failure, code: 'version', message: 'old' }, '01 0003 6f6c64'],
  [{ type: MessageType.Failure, code: 'bug', message: '' }, '08 0000'],
  [{ type: MessageType.Failure, code: 'unable', message: 'x' }, '09 0001 78'],
  [{ type: MessageType.Ping, token: 1n }, '0000000000000001'],
  [{ type: MessageType.Pong, token: 2n ** 64n - 1n }, 'ffffffffffffffff'],
  [{ type: MessageType.Credit, handledBytes: 258n }, '0000000000000102'],
  [{ type: MessageType.ListDigests }, ''],
  [
    {
      type: MessageType.DirectoryDigests,
      last: true,
      directories: [{ id: nodeId(1), digest: id }],
    },
    `01 0001 000000000001 ${idHex}`,
  ],
  [
    { type: MessageType.GetListing, ids: [nodeId(1), nodeId(2 ** 47 - 1)] },
    '0002 000000000001 7fffffffffff',
  ],
  [
    {
      type: MessageType.Listing,
      last: false,
      entries: [{ parent: nodeId(1), name: name('a'), entry: file }],
    },
    `00 0001 000000000001 ${fileHex('61')}`,
  ],
  [{ type: MessageType.Offer, batch: 9, ids: id }, `00000009 0001 ${idHex}`],
  [{ type: MessageType.Need, batch: 9, bitmap: Buffer.from([1]) }, '00000009 0001 01'],
  [
    {
      type: MessageType.GetGrains,
      batch: 9,
      factor: 258n,
      grainSize: 64,
      files: [
        { id: nodeId(5), version: 6, ranges: [{ offset: 2 ** 40, size: 65 }] },
        {
          id: nodeId(7),
          version: 8,
          ranges: [
            { offset: 0, size: 1 },
            { offset: 3, size: 2 ** 21 },
          ],
        },
      ],
    },
    `00000009 0000000000000102 0040 0002 000000000005 00000006 0001 010000000000 00000041
     000000000007 00000008 0002 000000000000 00000001 000000000003 00200000`,
  ],
  [
    {
      type: MessageType.Grains,
      batch: 9,
      ranges: [Buffer.from('0102030405060708', 'hex'), Buffer.alloc(0)],
    },
    '00000009 0002 00000002 0102030405060708 00000000',
  ],
  [
    helloOf('verifier', { label: '' }),
    `52504c43 0001 0000 0000000000000000 03 00 ${'aa'.repeat(16)} ${'bb'.repeat(16)} 0000`,
  ],
  [
    { type: MessageType.Verify, content: true, ids: [nodeId(1), nodeId(258)] },
    '01 0002 000000000001 000000000102',
  ],
  [
    {
      type: MessageType.Checked,
      last: true,
      entries: [
        {
          parent: nodeId(1),
          name: '',
          entry: { ...folder, id: nodeId(1) },
          finding: 'time',
          from: 0,
          blocks: Buffer.alloc(0),
        },
        {
          parent: nodeId(1),
          name: name('a'),
          entry: file,
          finding: 'same',
          from: 7,
          blocks: Buffer.concat([Buffer.from('1fff', 'hex'), id]),
        },
        {
          parent: nodeId(1),
          name: name('d'),
          entry: folder,
          finding: 'unreadable',
          from: 0,
          blocks: Buffer.alloc(0),
        },
        {
          parent: nodeId(1),
          name: name('x'),
          entry: { ...folder, xattrs: '\x01a\0\x01\xff' },
          finding: 'xattrs',
          from: 0,
          blocks: Buffer.alloc(0),
        },
        {
          parent: nodeId(1),
          name: name('l'),
          entry: file,
          finding: 'hard link',
          from: 0,
          blocks: Buffer.alloc(0),
        },
      ],
      extras: [{ parent: nodeId(2), name: name('x') }],
    },
    `01 0005 000000000001 ${rootHex} 06 00000000 0000
     000000000001 ${fileHex('61')} 01 00000007 0001 1fff ${idHex}
     000000000001 ${folderHex('64')} 07 00000000 0000
     000000000001 42 ${folderHex('78').slice(2)} 0005 01610001ff 09 00000000 0000
     000000000001 ${fileHex('6c')} 0a 00000000 0000  0001 000000000002 01 78`,
  ],
  [
    {
      type: MessageType.Mistrust,
      entries: [
        { parent: nodeId(1), name: name('a'), id: nodeId(5), isOther: true },
        { parent: nodeId(1), name: name('b'), id: 0, isOther: false },
      ],
    },
    '0002 000000000001 01 61 000000000005 01 000000000001 01 62 000000000000 00',
  ],
  [{ type: MessageType.Forgotten, count: 258, hasSender: true }, '00000102 01'],
  [
    {
      type: MessageType.Operations,
      commit: 8n,
      operations: [
        { kind: 'directory', parent: nodeId(1), name: name('d'), entry: folder },
        {
          kind: 'link',
          parent: nodeId(1),
          name: name('l'),
          entry: { ...file, kind: 'link', mode: 0o777, size: 2, version: 0, target: '..' },
        },
        {
          kind: 'file',
          parent: nodeId(1),
          name: name('f'),
          entry: file,
          content: {
            kind: 'inline',
            baseVersion: 7,
            pieces: [
              { kind: 'copy', from: 2, count: 3 },
              { kind: 'block', id, size: 65536 },
              { kind: 'data', id, bytes: Buffer.from('xyz') },
              { kind: 'zero', id, size: 8192 },
            ],
          },
        },
        {
          kind: 'file',
          parent: nodeId(1),
          name: name('g'),
          entry: file,
          content: { kind: 'stage', stage: 4 },
        },
      ],
    },
    `0000000000000008 0004
     01 000000000001 ${folderHex('64')}
     02 000000000001 03 01ff 000000000005 0000000000000002 0000000000000006 ${'0'.repeat(48)}
        00000000 01 6c 0002 2e2e
     03 000000000001 ${fileHex('66')} 01 00000007 00000004
        01 00000002 00000003  02 ${idHex} 00010000  03 ${idHex} 00000003 78797a  04 ${idHex} 00002000
     03 000000000001 ${fileHex('67')} 02 00000004`,
  ],
  [
    {
      type: MessageType.Operations,
      commit: 8n,
      operations: [
        { kind: 'hardlink', parent: nodeId(1), name: name('h'), entry: file },
        {
          kind: 'rename',
          fromParent: nodeId(2),
          fromName: name('from'),
          parent: nodeId(1),
          name: name('r'),
          entry: file,
        },
        { kind: 'remove', parent: nodeId(1), name: name('x'), id: nodeId(5) },
        { kind: 'attributes', parent: nodeId(1), name: name('a'), entry: file },
        { kind: 'attributes', parent: 0, name: '', entry: { ...folder, id: nodeId(1) } },
      ],
    },
    `0000000000000008 0005
     04 000000000001 ${fileHex('68')}
     05 000000000002 04 66726f6d 000000000001 ${fileHex('72')}
     06 000000000001 01 78 000000000005
     07 000000000001 ${fileHex('61')}
     07 000000000000 02 01a4 000000000001 0000000000000000 0000000000000006 ${'0'.repeat(48)}
        00000000 00 0000`,
  ],
  [{ type: MessageType.CommitEnd, commit: 8n, operationCount: 256 }, '0000000000000008 00000100'],
  [{ type: MessageType.Durable, commit: 8n }, '0000000000000008'],
  [
    { type: MessageType.Rejected, commit: 8n, index: 3, reason: 'base', message: 'no' },
    '0000000000000008 0003 04 0002 6e6f',
  ],
  [{ type: MessageType.InSync }, ''],
  [
    {
      type: MessageType.Lost,
      entries: [{ parent: nodeId(1), name: name('a'), id: nodeId(5) }],
    },
    '0001 000000000001 01 61 000000000005',
  ],
  [
    {
      type: MessageType.StageOpen,
      stage: 4,
      id: nodeId(5),
      size: Number.MAX_SAFE_INTEGER,
      baseVersion: 6,
    },
    '00000004 000000000005 001fffffffffffff 00000006',
  ],
  [
    { type: MessageType.StageData, stage: 4, pieces: [{ kind: 'zero', id, size: 1 }] },
    `00000004 00000001 04 ${idHex} 00000001`,
  ],
  [
    {
      type: MessageType.StageData,
      stage: 4,
      pieces: [{ kind: 'patch', id, size: 9, patch: Buffer.from('00090a', 'hex') }],
    },
    `00000004 00000001 05 ${idHex} 00000009 00000003 00090a`,
  ],
  [{ type: MessageType.StageAbort, stage: 4 }, '00000004'],
  [{ type: MessageType.StageRefused, stage: 4, message: 'no' }, '00000004 0002 6e6f'],
];

t.test('each message has a fixed layout', async t => {
  for (const [message, hex] of golden) {
    const bytes = encodeMessage(message);
    t.equal(bytes.toString('hex'), hex.replaceAll(/\s/g, ''), `type ${message.type}`);
    t.same(decodeMessage(message.type, bytes), message);
  }
  const covered = new Set(golden.map(([message]) => message.type));
  t.same([...covered].sort(), Object.values(MessageType).sort(), 'every type is here');
});

t.test('decode(encode(m)) = m', async t => {
  for (let seed = 1; seed <= 3000; seed++) {
    const message = randomMessage(seededRandom(seed));
    const bytes = encodeMessage(message);
    if (bytes.length !== encodedSize(message)) t.fail(`size, seed ${seed}`);
    if (!t.same(decodeMessage(message.type, bytes), message, `seed ${seed}`)) break;
  }
});

t.test('whatever the bytes, a message comes out or ERR_PROTOCOL', async t => {
  for (let seed = 1; seed <= 60_000; seed++) {
    const random = seededRandom(seed);
    const { type, bytes } = damaged(random);
    try {
      const message = decodeMessage(type, bytes);
      // There is one encoding of each message, but for texts made printable and longer Hellos.
      const isExact = encodeMessage(message).equals(bytes);
      if (isExact || 'label' in message || 'message' in message) continue;
      t.fail(`second encoding, seed ${seed}`);
      break;
    } catch (error) {
      if (error instanceof ReplicaError && error.code === 'ERR_PROTOCOL') continue;
      t.fail(`seed ${seed}: ${error}`);
      break;
    }
  }
  t.pass('seeds 1 to 60000');
});

function damaged(random: () => number): { type: number; bytes: Buffer } {
  if (random() < 0.2) {
    return {
      type: randomInteger(random, 256),
      bytes: randomBytes(random, randomInteger(random, 99)),
    };
  }
  const message = randomMessage(random);
  const bytes = encodeMessage(message);
  const at = randomInteger(random, bytes.length);
  if (bytes.length > 0) bytes[at] = randomInteger(random, 256);
  const isCut = random() < 0.2;
  return { type: message.type, bytes: isCut ? bytes.subarray(0, at) : bytes };
}

t.test('is cut short at every byte, or one too long', async t => {
  for (const [message, hex] of golden) {
    const bytes = Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
    // Cut behind its label, a Hello is one that names no replica.
    const isHello = message.type === MessageType.Hello;
    const whole = isHello && message.replica !== undefined ? 52 + 2 : undefined;
    for (let end = 0; end < bytes.length; end++) {
      if (end === whole) continue;
      try {
        decodeMessage(message.type, bytes.subarray(0, end));
        t.fail(`type ${message.type} at ${end}`);
      } catch (error) {
        if (!(error instanceof ReplicaError) || error.code !== 'ERR_PROTOCOL') t.fail(`${error}`);
      }
    }
    const longer = Buffer.concat([bytes, Buffer.alloc(1)]);
    const why = isHello ? /many|replica size is cut short/ : /many/;
    t.throws(() => decodeMessage(message.type, longer), { code: 'ERR_PROTOCOL', message: why });
  }
});

t.test('names the field that is off', async t => {
  const rows: [string, MessageType, string, RegExp][] = [
    ['magic', MessageType.Hello, '52504c44', /magic/],
    ['role', MessageType.Hello, `52504c43 0001 0000 ${'00'.repeat(8)} 04`, /role/],
    ['flag', MessageType.Hello, `52504c43 0001 0000 ${'00'.repeat(8)} 01 02`, /take over/],
    ['empty replica', MessageType.Hello, `${hello} 0000 0000`, /replica is empty/],
    ['label of 1025', MessageType.Hello, `${hello} 0401 ${'61'.repeat(1025)}`, /label size/],
    ['failure code 0', MessageType.Failure, '00 0000', /failure code/],
    ['failure code 10', MessageType.Failure, '0a 0000', /failure code/],
    ['4097 digests', MessageType.DirectoryDigests, `00 1001 ${'11'.repeat(22 * 4097)}`, /count/],
    ['no ids', MessageType.GetListing, '0000', /count/],
    ['1025 ids', MessageType.GetListing, `0401 ${'000000000002'.repeat(1025)}`, /count/],
    ['id 0', MessageType.GetListing, '0001 000000000000', /id/],
    ['4097 entries', MessageType.Listing, `00 1001 ${'00'.repeat(200)}`, /count/],
    ['more entries than bytes', MessageType.Listing, `00 1000 ${'00'.repeat(200)}`, /count/],
    ['no ids offered', MessageType.Offer, '00000001 0000', /count/],
    ['8193 ids', MessageType.Offer, '00000001 2001', /count/],
    ['empty bitmap', MessageType.Need, '00000001 0000', /bitmap/],
    ['bitmap of 1025', MessageType.Need, '00000001 0401', /bitmap/],
    ['grains of 63 bytes', MessageType.GetGrains, getGrains('003f', '00000001'), /grain size/],
    ['grains of 1025 bytes', MessageType.GetGrains, getGrains('0401', '00000001'), /grain size/],
    ['no bytes', MessageType.GetGrains, getGrains('0040', '00000000'), /size/],
    ['version 0', MessageType.GetGrains, getGrains('0040', '00000001', '00000000'), /version/],
    ['65537 grains', MessageType.GetGrains, getGrains('0040', '00400001'), /size/],
    ['no ranges', MessageType.GetGrains, `${manyGrains('0040', [[]])} ${'00'.repeat(10)}`, /count/],
    ['no files', MessageType.GetGrains, manyGrains('0040', []), /count/],
    [
      '65537 grains in all',
      MessageType.GetGrains,
      manyGrains('0040', [['00400000'], ['00000001']]),
      /size is too large in all/,
    ],
    [
      '4097 ranges in all',
      MessageType.GetGrains,
      manyGrains('0040', [Array(4096).fill('00000001'), ['00000001']]),
      /range count/,
    ],
    ['more hashes than bytes', MessageType.Grains, '00000001 0001 00000002 00000000', /hashes/],
    ['65537 hashes', MessageType.Grains, '00000001 0001 00010001', /hash count/],
    ['no ranges answered', MessageType.Grains, '00000001 0000', /count/],
    ['commit 0', MessageType.Operations, '0000000000000000 0001 01', /commit/],
    ['no operations', MessageType.Operations, '0000000000000001 0000', /count/],
    ['257 operations', MessageType.Operations, '0000000000000001 0101', /count/],
    ['operation kind 0', MessageType.Operations, operation('00'), /operation kind/],
    ['operation kind 8', MessageType.Operations, operation('08'), /operation kind/],
    [
      'a file as directory',
      MessageType.Operations,
      operation(`01 ${place} ${fileHex('61')}`),
      /kind/,
    ],
    [
      'a directory as file',
      MessageType.Operations,
      operation(`03 ${place} ${folderHex('61')}`),
      /kind/,
    ],
    [
      'a folder as hard link',
      MessageType.Operations,
      operation(`04 ${place} ${folderHex('61')}`),
      /kind/,
    ],
    ['parent 0', MessageType.Operations, operation(`01 000000000000 ${folderHex('61')}`), /parent/],
    ['no parent', MessageType.Operations, operation(`07 000000000000 ${fileHex('61')}`), /parent/],
    [
      'content kind',
      MessageType.Operations,
      operation(`03 ${place} ${fileHex('61')} 03`),
      /content/,
    ],
    ['257 in a commit', MessageType.CommitEnd, '0000000000000001 00000101', /operation count/],
    ['index 256', MessageType.Rejected, '0000000000000001 0100 01 0000', /index/],
    ['reason', MessageType.Rejected, '0000000000000001 0000 06 0000', /reason/],
    ['nothing lost', MessageType.Lost, '0000', /count/],
    ['slash in a lost name', MessageType.Lost, '0001 000000000001 01 2f 000000000005', /name/],
    [
      'size of 2^53',
      MessageType.StageOpen,
      '00000001 000000000005 0020000000000000 00000000',
      /size/,
    ],
    ['more pieces than bytes', MessageType.StageData, '00000001 0001c71c 01', /piece count/],
    ['2^32 pieces', MessageType.StageData, '00000001 ffffffff', /piece count/],
    ['piece kind', MessageType.StageData, pieces('06'), /piece kind/],
    ['patch of 0', MessageType.StageData, pieces(`05 ${idHex} 00000001 00000000`), /patch size/],
    [
      'patch of 70000',
      MessageType.StageData,
      pieces(`05 ${idHex} 00000001 00011170`),
      /patch size/,
    ],
    ['copy of nothing', MessageType.StageData, pieces('01 00000000 00000000'), /copy count/],
    ['copy over the end', MessageType.StageData, pieces('01 00000002 fffffffe'), /copy count/],
    ['block of 0', MessageType.StageData, pieces(`02 ${idHex} 00000000`), /block size/],
    ['block of 64 KiB + 1', MessageType.StageData, pieces(`02 ${idHex} 00010001`), /block size/],
    ['data of 64 KiB + 1', MessageType.StageData, pieces(`03 ${idHex} 00010001`), /block size/],
    ['zeroes of 2^32-1', MessageType.StageData, pieces(`04 ${idHex} ffffffff`), /block size/],
  ];
  for (const [what, type, hex, field] of rows) {
    const bytes = Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
    t.throws(() => decodeMessage(type, bytes), { code: 'ERR_PROTOCOL', message: field }, what);
  }
  for (const type of [0, 7, 24, 44, 255]) {
    t.throws(() => decodeMessage(type, Buffer.alloc(0)), { code: 'ERR_PROTOCOL', message: /type/ });
  }
});

const hello = `52504c43 0001 0000 ${'00'.repeat(8)} 01 00 ${'00'.repeat(32)}`;
const place = '000000000001';

/** A question about one range of one file; the range's size may be cut short. */
function getGrains(grainSize: string, size: string, version = '00000001'): string {
  const range = `000000000000 ${size}`;
  return `00000001 ${'00'.repeat(8)} ${grainSize} 0001 000000000005 ${version} 0001 ${range}`;
}

function manyGrains(grainSize: string, files: readonly (readonly string[])[]): string {
  const all = files.map(sizes => {
    const count = sizes.length.toString(16).padStart(4, '0');
    return `000000000005 00000001 ${count} ${sizes.map(size => `000000000000 ${size}`).join('')}`;
  });
  const count = files.length.toString(16).padStart(4, '0');
  return `00000001 ${'00'.repeat(8)} ${grainSize} ${count} ${all.join('')}`;
}

function operation(hex: string): string {
  return `0000000000000001 0001 ${hex} ${'00'.repeat(20)}`;
}

function pieces(hex: string): string {
  return `00000001 00000001 ${hex} ${'00'.repeat(9)}`;
}

t.test('a Hello of another major version is read as far as it is known', async t => {
  const bytes = Buffer.from('52504c43000200070000000000000001ffffffff', 'hex');
  t.match(decodeMessage(MessageType.Hello, bytes), { major: 2, minor: 7, features: 1n });
});

t.test(
  'texts from a peer cannot control a terminal, and long ones are cut at a character',
  async t => {
    const failure = encodeMessage({
      type: MessageType.Failure,
      code: 'io',
      message: 'a\x1b[2Jb\u202ec',
    });
    t.match(decodeMessage(MessageType.Failure, failure), { message: 'a\\x1b[2Jb\\u{202e}c' });
    const long = encodeMessage({ type: MessageType.Failure, code: 'io', message: 'ü'.repeat(600) });
    t.match(decodeMessage(MessageType.Failure, long), { message: 'ü'.repeat(512) });
    const odd = encodeMessage({
      type: MessageType.Failure,
      code: 'io',
      message: `a${'ü'.repeat(600)}`,
    });
    t.match(decodeMessage(MessageType.Failure, odd), { message: `a${'ü'.repeat(511)}` });
  },
);

t.test('decoded bytes are views: no block is copied', async t => {
  const bytes = encodeMessage({
    type: MessageType.StageData,
    stage: 1,
    pieces: [{ kind: 'data', id, bytes: Buffer.alloc(1000, 1) }],
  });
  const message = decodeMessage(MessageType.StageData, bytes);
  const piece = message.type === MessageType.StageData ? message.pieces[0] : undefined;
  t.equal(piece?.kind === 'data' && piece.bytes.buffer, bytes.buffer);
});

t.test('what it would refuse to read it does not write', async t => {
  const entries: Message[] = [
    { type: MessageType.GetListing, ids: [] },
    { type: MessageType.Offer, batch: 1, ids: Buffer.alloc(17) },
    { type: MessageType.Offer, batch: 1, ids: Buffer.alloc(16 * 8193) },
    { type: MessageType.GetGrains, batch: 1, factor: 1n, grainSize: 64, files: [] },
    { type: MessageType.Grains, batch: 1, ranges: [Buffer.alloc(5)] },
    { type: MessageType.Grains, batch: 1, ranges: [Buffer.alloc(4 * 65_537)] },
    { type: MessageType.Operations, commit: 1n, operations: [] },
    {
      type: MessageType.DirectoryDigests,
      last: true,
      directories: [{ id: nodeId(1), digest: Buffer.alloc(15) }],
    },
    { type: MessageType.StageData, stage: 1, pieces: [{ kind: 'zero', id, size: 65537 }] },
    { type: MessageType.StageData, stage: 1, pieces: [{ kind: 'copy', from: 1, count: 0 }] },
    {
      type: MessageType.Operations,
      commit: 1n,
      operations: [{ kind: 'attributes', parent: 0, name: name('a'), entry: file }],
    },
    {
      type: MessageType.Operations,
      commit: 1n,
      operations: [{ kind: 'directory', parent: nodeId(1), name: name('a'), entry: file }],
    },
  ];
  for (const message of entries) t.throws(() => encodeMessage(message), { code: 'ERR_ASSERTION' });
});
