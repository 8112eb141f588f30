// What a receiver refuses is mended: sent raw, agreed on anew, or reported, and never for ever.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Operation } from '../../src/wire/messages.ts';
import { connectTo, optionsFor, runOnce } from '../support/fake-push.ts';
import { FakeReceiver } from '../support/fake-receiver.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

type TestContext = Parameters<Parameters<typeof t.test>[0]>[0];

function prepare(t: TestContext) {
  const receiver = new FakeReceiver();
  const options = optionsFor(makeDiskFolder(t), { connect: connectTo(receiver) });
  fs.mkdirSync(options.source);
  const at = (name: string): string => join(options.source, name);
  return { receiver, options, at };
}

const borrows = (operation: Operation): boolean =>
  operation.kind === 'file' &&
  operation.content.kind === 'inline' &&
  operation.content.pieces.some(piece => piece.kind === 'block');

t.test('a new file whose block is missing is sent raw on the next try', async t => {
  const { receiver, options, at } = prepare(t);
  const bytes = randomBytes(seededRandom(1), 100_000);
  fs.writeFileSync(at('first'), bytes);
  t.match((await runOnce(options)).outcome, { inSync: true });
  fs.writeFileSync(at('second'), bytes);
  receiver.refuse = operation => (borrows(operation) ? 'blocks' : undefined);
  const from = receiver.operationCount;
  t.match((await runOnce(options)).outcome, { inSync: true, problems: 0 });
  t.ok(receiver.model.tree().has('second'));
  t.ok(receiver.operationCount - from < 8, `${receiver.operationCount - from} operations`);
});

t.test('a receiver that holds something else is believed, and put right', async t => {
  const { receiver, options, at } = prepare(t);
  fs.writeFileSync(at('a'), 'a');
  fs.mkdirSync(at('d'));
  fs.writeFileSync(at('d/b'), 'b');
  t.match((await runOnce(options)).outcome, { inSync: true });
  fs.chmodSync(at('a'), 0o600);
  fs.rmSync(at('d'), { recursive: true });
  let refused = 0;
  receiver.refuse = operation => {
    if (operation.kind !== 'attributes' || operation.parent === 0) return undefined;
    return refused++ < 1 ? 'gone' : undefined;
  };
  const { outcome } = await runOnce(options);
  t.match(outcome, { inSync: true, problems: 0 });
  t.equal(refused, 2, 'refused once, then done');
  t.strictSame(
    [...receiver.model.tree().keys()],
    ['a'],
    'nothing is forgotten that is still there',
  );
});

t.test('a receiver that refuses for ever ends a --once with an error', async t => {
  const { receiver, options, at } = prepare(t);
  fs.writeFileSync(at('a'), 'a');
  receiver.refuse = operation => (operation.kind === 'file' ? 'gone' : undefined);
  const { outcome } = await runOnce(options);
  t.match(outcome, { inSync: false, error: { code: 'ERR_PROTOCOL' } });
});

t.test(
  'what the receiver cannot do is tried again after growing pauses, whatever it is',
  async t => {
    const { receiver, options, at } = prepare(t);
    for (const name of ['old', 'gone', 'mode']) fs.writeFileSync(at(name), name);
    fs.mkdirSync(at('emptied'));
    fs.writeFileSync(at('emptied/file'), 'x');
    t.match((await runOnce(options)).outcome, { inSync: true });
    fs.renameSync(at('old'), at('renamed'));
    fs.rmSync(at('gone'));
    fs.rmSync(at('emptied'), { recursive: true });
    fs.chmodSync(at('mode'), 0o600);
    fs.symlinkSync('mode', at('link'));
    fs.linkSync(at('mode'), at('second'));
    fs.mkdirSync(at('folder/below'), { recursive: true });
    fs.writeFileSync(at('folder/below/file'), 'x');
    fs.writeFileSync(at('file'), 'x');
    // What is sent into a folder together with it finds none.
    const made = new Set<number>();
    receiver.refuse = operation => {
      if (operation.kind === 'directory') made.add(operation.entry.id);
      const isBelow = made.has(operation.parent);
      if (!isBelow) return 'refused';
      return operation.kind === 'file' ? 'blocks' : 'gone';
    };
    const from = receiver.operationCount;
    const { outcome } = await runOnce(options);
    t.match(outcome, { inSync: false, error: undefined });
    t.ok(outcome.problems >= 7, `${outcome.problems} problems`);
    const count = receiver.operationCount - from;
    t.ok(count <= 16, `${count} operations: each once, and what is below the folder`);
    receiver.refuse = () => undefined;
    t.match((await runOnce(options)).outcome, { inSync: true, problems: 0 });
  },
);

t.test('what is refused because of a name that goes is tried again once it went', async t => {
  const { receiver, options, at } = prepare(t);
  fs.writeFileSync(at('NAME'), 'first');
  t.match((await runOnce(options)).outcome, { inSync: true });
  receiver.refuse = operation =>
    operation.kind === 'file' && operation.name === 'name' && receiver.model.tree().has('NAME')
      ? 'refused'
      : undefined;
  fs.rmSync(at('NAME'));
  fs.writeFileSync(at('name'), 'second');
  t.match((await runOnce(options)).outcome, { inSync: true, problems: 0 });
  t.strictSame([...receiver.model.tree().keys()], ['name']);
});

type At = (name: string) => string;

const refused: Record<string, (at: At) => void> = {
  'a delete': at => fs.rmSync(at('file')),
  'a delete of a folder': at => fs.rmSync(at('folder'), { recursive: true }),
  'a rename': at => fs.renameSync(at('file'), at('renamed')),
  'a hard link': at => fs.linkSync(at('file'), at('second')),
  'a link': at => fs.symlinkSync('file', at('link')),
  'a folder': at => fs.mkdirSync(at('new')),
  'an attribute': at => fs.chmodSync(at('folder'), 0o700),
  'a file': at => fs.writeFileSync(at('file'), 'changed'),
  'a folder in place of a file': at => {
    fs.rmSync(at('file'));
    fs.mkdirSync(at('file'));
  },
};

t.test('each is tried once, reported, and done by the next run', async t => {
  const cases = Object.entries(refused).map(async ([what, change]) => {
    const { receiver, options, at } = prepare(t);
    fs.mkdirSync(at('folder'));
    for (const name of ['file', 'other']) fs.writeFileSync(at(name), name);
    t.match((await runOnce(options)).outcome, { inSync: true });
    change(at);
    const { operationCount } = receiver;
    receiver.refuse = operation => (operation.parent === 0 ? undefined : 'refused');
    const { outcome } = await runOnce(options);
    t.match(outcome, { inSync: false, error: undefined }, what);
    t.ok(outcome.problems > 0, `${what} is a problem`);
    t.ok(receiver.operationCount - operationCount <= 4, `${what} is tried once`);
    receiver.refuse = () => undefined;
    t.match((await runOnce(options)).outcome, { inSync: true }, `${what} is done by the next run`);
  });
  await Promise.all(cases);
});
