// Senders that hold the key and lie, through real sockets: what each gets for it.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openStagesMax } from '../../src/limits.ts';
import { type Message, MessageType, type Operation, type Piece } from '../../src/wire/messages.ts';
import { type FakeSender, type Placed, remove, rename, rootId } from '../support/fake-sender.ts';
import { HostileScene } from '../support/hostile-scene.ts';
import { nodeId } from '../support/messages.ts';
import { ownShare } from '../support/seeds.ts';

type File = Operation & Placed & { kind: 'file' };

/** What came of it: a Failure's code, the reasons of rejections, 'done', or that there was no end. */
async function outcome(sender: FakeSender, commit = sender.nextCommit - 1n): Promise<string> {
  const reasons: string[] = [];
  for (;;) {
    const message = await sender.any();
    if (message.type === MessageType.Failure) return message.code;
    if (message.type === MessageType.Rejected) reasons.push(message.reason);
    if (message.type === MessageType.Durable && message.commit === commit) break;
  }
  return reasons.length === 0 ? 'done' : reasons.join(' ');
}

async function tell(sender: FakeSender, ...messages: readonly Message[]): Promise<void> {
  for (const message of messages) await sender.connection.send(message);
  sender.connection.flush();
}

const operations = (commit: bigint, ...all: readonly Operation[]): Message => {
  return { type: MessageType.Operations, commit, operations: all };
};
const end = (commit: bigint, operationCount: number): Message => {
  return { type: MessageType.CommitEnd, commit, operationCount };
};
const openStage = (stage: number, size: number, baseVersion = 0): Message => {
  return { type: MessageType.StageOpen, stage, id: nodeId(900), size, baseVersion };
};
const fill = (stage: number, pieces: readonly Piece[]): Message => {
  return { type: MessageType.StageData, stage, pieces };
};

function file(sender: FakeSender, name: string, changes: Partial<File['content']> = {}): File {
  // What FakeSender.file makes is one.
  const made = sender.file(rootId, name, 'content') as File;
  return { ...made, content: { ...made.content, ...changes } as File['content'] };
}

function staged(sender: FakeSender, stage: number, size: number): File {
  const entry = sender.fileEntry(size, { id: nodeId(900) });
  return { ...file(sender, 'staged'), entry, content: { kind: 'stage', stage } };
}

type Act = (sender: FakeSender) => Promise<string>;

/** One commit of what is made. */
const commit =
  (make: (sender: FakeSender) => readonly Operation[]): Act =>
  async sender => {
    await sender.send(make(sender));
    return outcome(sender);
  };

/** Messages instead, of the commit that is due. */
const say =
  (make: (sender: FakeSender, due: bigint) => readonly Message[]): Act =>
  async sender => {
    const due = sender.nextCommit;
    await tell(sender, ...make(sender, due));
    return outcome(sender, due);
  };

const rows: readonly (readonly [string, string, Act])[] = [
  [
    'a commit twice',
    'protocol',
    say((s, n) => [operations(n, file(s, 'a')), end(n, 1), end(n, 0)]),
  ],
  ['a commit left out', 'protocol', say((s, n) => [operations(n + 1n, file(s, 'a'))])],
  ['the commit before', 'protocol', say((s, n) => [operations(n - 1n, file(s, 'a'))])],
  ['the last number', 'protocol', say((s, _) => [operations(2n ** 64n - 1n, file(s, 'a'))])],
  [
    'two commits at a time',
    'protocol',
    say((s, n) => [operations(n, file(s, 'a')), operations(n + 1n, file(s, 'b'))]),
  ],
  ['an end without its commit', 'protocol', say((_, n) => [end(n, 5)])],
  [
    'an end with fewer operations',
    'protocol',
    say((s, n) => [operations(n, file(s, 'a'), file(s, 'b')), end(n, 1)]),
  ],
  [
    'more operations than a commit has',
    'protocol',
    say((s, n) => {
      const many = Array.from({ length: 200 }, (_, i) => remove(rootId, `r${i}`, s.id()));
      return [operations(n, ...many), operations(n, ...many)];
    }),
  ],
  ['a parent never declared', 'gone', commit(s => [{ ...file(s, 'a'), parent: nodeId(777) }])],
  [
    'a file as parent',
    'gone',
    commit(s => {
      const a = file(s, 'a');
      return [a, { ...file(s, 'b'), parent: a.entry.id }];
    }),
  ],
  [
    'a link out of the replica as parent',
    'gone gone gone gone',
    commit(s => {
      const out = s.link(rootId, 'out', '../canary');
      const { id } = out.entry;
      return [
        out,
        { ...file(s, 'file'), parent: id },
        s.directory(id, 'new'),
        s.link(id, 'folder', '/'),
        remove(id, 'file', nodeId(5)),
      ];
    }),
  ],
  [
    'a rename of a node never declared',
    'gone',
    commit(s => [rename({ ...file(s, 'a'), parent: nodeId(777) }, rootId, 'b')]),
  ],
  [
    'a hard link to a node never declared',
    'gone',
    commit(s => [{ ...file(s, 'a'), kind: 'hardlink' }]),
  ],
  [
    'a hard link to a directory',
    'gone',
    commit(s => {
      const d = s.directory(rootId, 'd');
      const entry = s.fileEntry(0, { id: d.entry.id });
      return [d, { ...file(s, 'a'), kind: 'hardlink', entry }];
    }),
  ],
  ['a removal of what is not there', 'done', commit(s => [remove(rootId, 'x', s.id())])],
  [
    'attributes of what is not there',
    'gone',
    commit(s => [{ ...file(s, 'nowhere'), kind: 'attributes' }]),
  ],
  [
    'a directory into itself',
    'gone',
    commit(s => {
      const d = s.directory(rootId, 'd');
      return [d, rename(d, d.entry.id, 'e')];
    }),
  ],
  [
    'a directory below itself',
    'gone',
    commit(s => {
      const d = s.directory(rootId, 'd');
      const e = s.directory(d.entry.id, 'e');
      return [d, e, rename(d, e.entry.id, 'f')];
    }),
  ],
  ['a block never offered', 'blocks', commit(s => [content(s, [s.block(Buffer.alloc(9000))])])],
  ['a base never declared', 'base', commit(s => [content(s, [copyOf(0, 1)], 7)])],
  ['a copy without a base', 'protocol', commit(s => [content(s, [copyOf(0, 1)])])],
  [
    'a copy behind the end of its base',
    'base',
    commit(s => {
      const a = file(s, 'a');
      const entry = { ...a.entry, version: 2 };
      const pieces = [copyOf(2 ** 31, 2 ** 31 - 1)];
      return [a, { ...a, entry, content: { kind: 'inline', baseVersion: 1, pieces } }];
    }),
  ],
  ['more content than the size', 'protocol', commit(s => [sized(s, 6)])],
  ['less content than the size', 'protocol', commit(s => [sized(s, 8)])],
  ['a size of 2^53 - 1', 'protocol', commit(s => [sized(s, 2 ** 53 - 1)])],
  [
    'zeroes under the id of something else',
    'protocol',
    commit(s => [content(s, [{ kind: 'zero', id: Buffer.alloc(16), size: 7 }])]),
  ],
  ['data for a stage never opened', 'protocol', say(s => [fill(4, s.data(Buffer.from('x')))])],
  [
    'an end of a stage never opened',
    'protocol',
    say(() => [{ type: MessageType.StageAbort, stage: 4 }]),
  ],
  ['a file of a stage never opened', 'protocol', commit(s => [staged(s, 4, 1)])],
  ['a stage twice', 'protocol', say(() => [openStage(4, 1), openStage(4, 1)])],
  [
    'too many stages',
    'protocol',
    say(() => Array.from({ length: openStagesMax + 1 }, (_, i) => openStage(i, 1))),
  ],
  [
    'more than its size in a stage',
    'protocol',
    say(s => [openStage(4, 5), fill(4, s.data(Buffer.alloc(6)))]),
  ],
  [
    'a stage for another file',
    'protocol',
    say((s, n) => [
      openStage(4, 1),
      fill(4, s.data(Buffer.from('x'))),
      operations(n, { ...staged(s, 4, 1), entry: s.fileEntry(1) }),
    ]),
  ],
  [
    'a stage that is not complete',
    'protocol',
    say((s, n) => [openStage(4, 2 ** 53 - 1), operations(n, staged(s, 4, 2 ** 53 - 1))]),
  ],
  [
    'a stage used twice',
    'protocol',
    say((s, n) => [
      openStage(4, 1),
      fill(4, s.data(Buffer.from('x'))),
      operations(n, staged(s, 4, 1), staged(s, 4, 1)),
    ]),
  ],
  [
    'a stage on a base never declared',
    'base',
    say((s, n) => [
      openStage(4, 1, 3),
      fill(4, [copyOf(0, 1)]),
      operations(n, staged(s, 4, 1)),
      end(n, 1),
    ]),
  ],
  ['an entry of the root', 'protocol', commit(() => [remove(rootId, 'x', rootId)])],
  [
    'the private folder',
    'protocol',
    commit(s => [rename(s.directory(rootId, '.replica'), rootId, 'mine')]),
  ],
];

function content(sender: FakeSender, pieces: readonly Piece[], baseVersion = 0): File {
  const entry = sender.fileEntry(9000, { version: 9 });
  return { ...file(sender, 'made'), entry, content: { kind: 'inline', baseVersion, pieces } };
}

function sized(sender: FakeSender, size: number): File {
  const made = file(sender, 'sized');
  return { ...made, entry: { ...made.entry, size } };
}

function copyOf(from: number, count: number): Piece {
  return { kind: 'copy', from, count };
}

t.test('each lie ends one connection, or is rejected', async t => {
  const scene = await HostileScene.open(t);
  for (const [name, expected, act] of ownShare(rows)) {
    const sender = await scene.client();
    t.equal(await act(sender), expected, name);
    await sender.close();
    t.strictSame(await scene.good(), [], `${name}: the next client is served`);
  }
  t.comment(`${rows.length} cases`);
  t.strictSame(scene.faults(), []);
  t.match(await scene.converge(), { code: 0, differences: [] }, 'the owner goes on');
  t.notOk(fs.existsSync(join(scene.pair.target, 'mine')));
});
