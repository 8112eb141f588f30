// A file that was read in this life of the sender and is edited costs about its edit.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { SenderEvent } from '../../src/sender/events.ts';
import { Sender } from '../../src/sender/sender.ts';
import type { Operation, Piece } from '../../src/wire/messages.ts';
import { noise } from '../support/content.ts';
import { connectTo, optionsFor } from '../support/fake-push.ts';
import { FakeReceiver } from '../support/fake-receiver.ts';
import { makeDiskFolder } from '../support/folders.ts';

type Commit = Extract<SenderEvent, { kind: 'commit' }>;

/** Pushes while `story` goes on: a step ends when its file is in a commit and not refused. */
async function live(
  folder: string,
  receiver: FakeReceiver,
  story: (source: string) => Iterable<void>,
): Promise<Commit[]> {
  const stop = new AbortController();
  const options = { connect: connectTo(receiver), once: false, signal: stop.signal };
  const changed = optionsFor(folder, options);
  fs.mkdirSync(changed.source, { recursive: true });
  const steps = story(changed.source)[Symbol.iterator]();
  steps.next();
  const sender = await Sender.open(changed);
  const commits: Commit[] = [];
  for await (const event of sender.run()) {
    if (event.kind !== 'commit') continue;
    commits.push(event);
    if (event.resent === 0 && steps.next().done) stop.abort();
  }
  await sender.close();
  return commits;
}

const kindsOf = (operation: Operation): Piece['kind'][] =>
  operation.kind === 'file' && operation.content.kind === 'inline'
    ? operation.content.pieces.map(piece => piece.kind)
    : [];

t.test('edits of small files are patches, and are bytes once a patch was refused', async t => {
  const receiver = new FakeReceiver();
  const sent: Piece['kind'][] = [];
  let isRefusing = false;
  receiver.refuse = operation => {
    const kinds = kindsOf(operation);
    sent.push(...kinds);
    return isRefusing && kinds.includes('patch') ? 'base' : undefined;
  };
  const content = noise(1, 6000);
  const commits = await live(makeDiskFolder(t), receiver, function* (source) {
    const path = join(source, 'a');
    fs.writeFileSync(path, content);
    yield;
    content.write('edit', 3000);
    fs.writeFileSync(path, content);
    yield;
    isRefusing = true;
    content.write('again', 1000);
    fs.writeFileSync(path, content);
    yield;
  });
  t.strictSame(sent, ['data', 'patch', 'patch', 'data']);
  const edit = commits[1]?.bytesSent ?? 0;
  t.ok(edit < 100, `${edit} bytes`);
  t.strictSame(
    commits.map(commit => commit.resent),
    [0, 0, 1, 0],
  );
});

t.test('what was read in one life is patched in the next', async t => {
  const receiver = new FakeReceiver();
  const folder = makeDiskFolder(t);
  const content = noise(2, 6000);
  const save = (source: string): void => fs.writeFileSync(join(source, 'a'), content);
  await live(folder, receiver, function* (source) {
    save(source);
    yield;
  });
  const sent: Piece['kind'][] = [];
  receiver.refuse = operation => {
    sent.push(...kindsOf(operation));
    return undefined;
  };
  const edit = function* (source: string): Generator<void> {
    content.write('edit', 3000 + sent.length * 1000);
    save(source);
    yield;
  };
  await live(folder, receiver, edit);
  t.strictSame(sent, ['patch']);
  fs.truncateSync(join(folder, 'state', 'grains'), 100);
  await live(folder, receiver, edit);
  t.strictSame(sent, ['patch', 'data'], 'lost grains cost bytes');
});
