// A flush, and what is called in sync, while the receiver refuses something.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { SenderEvent } from '../../src/sender/events.ts';
import type { Operation } from '../../src/wire/messages.ts';
import { connectTo, optionsFor, runOnce } from '../support/fake-push.ts';
import { FakeReceiver } from '../support/fake-receiver.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { runUntilTeardown } from '../support/push-once.ts';

type Test = Parameters<Parameters<typeof t.test>[0]>[0];

const neverMs = 3_600_000;
/** What is tried so often is tried for ever. */
const triesMax = 20;

function prepare(t: Test) {
  const receiver = new FakeReceiver();
  const options = optionsFor(makeDiskFolder(t), { connect: connectTo(receiver) });
  fs.mkdirSync(options.source);
  const at = (name: string): string => join(options.source, name);
  return { receiver, options, at };
}

/** What each refused operation makes impossible beside itself. */
const refused: Record<string, { make: (at: (name: string) => string) => void; count: number }> = {
  'a folder with what is in it': {
    make: at => {
      fs.mkdirSync(at('refused/below'), { recursive: true });
      for (const name of ['a', 'b', 'below/c']) fs.writeFileSync(at(`refused/${name}`), name);
    },
    count: 1,
  },
  'a file with several names': {
    make: at => {
      fs.writeFileSync(at('refused'), 'x');
      fs.linkSync(at('refused'), at('second'));
    },
    count: 1,
  },
};

for (const [what, { make, count }] of Object.entries(refused)) {
  t.test(`a flush ends though ${what} is refused, and says so`, async t => {
    const { receiver, options, at } = prepare(t);
    fs.writeFileSync(at('before'), 'x');
    t.match((await runOnce(options)).outcome, { inSync: true });
    make(at);
    const abandon = new AbortController();
    let tries = 0;
    const made = new Set<number>();
    receiver.refuse = (operation: Operation) => {
      if (made.has(operation.parent)) return operation.kind === 'file' ? 'blocks' : 'gone';
      if (operation.kind === 'remove' || operation.name !== 'refused') return undefined;
      if (operation.kind === 'directory') made.add(operation.entry.id);
      if (++tries > triesMax) abandon.abort();
      return 'refused';
    };
    const sender = await runUntilTeardown(t, { ...options, once: false, intervalMs: neverMs });
    const flushed = await sender.flush(abandon.signal).catch((error: unknown) => error);
    t.match(flushed, { problems: count, held: 0 });
    t.ok(tries <= 3, `tried ${tries} times`);
    receiver.refuse = () => undefined;
    t.match(await sender.flush(), { problems: 0 }, 'the next flush tries it again');
    t.ok([...receiver.model.tree().keys()].includes('refused'));
  });
}

t.test('a refused delete is not called in sync', async t => {
  const { receiver, options, at } = prepare(t);
  for (const name of ['a', 'b', 'c']) fs.writeFileSync(at(name), name);
  t.match((await runOnce(options)).outcome, { inSync: true });
  receiver.refuse = operation => (operation.kind === 'remove' ? 'refused' : undefined);
  fs.rmSync(at('a'));
  const events: SenderEvent[] = [];
  const live = { ...options, once: false, intervalMs: neverMs };
  const sender = await runUntilTeardown(t, live, events);
  t.match(await sender.flush(), { problems: 1 });
  // A tick while it is paused, with something else to do: it finds nothing but that delete.
  const countOf = (kind: SenderEvent['kind']): number =>
    events.filter(event => event.kind === kind).length;
  const commits = countOf('commit');
  fs.writeFileSync(at('d'), 'd');
  while (countOf('commit') === commits) {
    sender.pause();
    sender.resume();
    await new Promise(resolve => setImmediate(resolve));
  }
  for (let i = 0; i < 3; i++) {
    fs.writeFileSync(at('d'), `d${i}`);
    const { operationCount } = receiver;
    while (receiver.operationCount === operationCount) {
      sender.pause();
      sender.resume();
      await new Promise(resolve => setImmediate(resolve));
    }
  }
  t.equal(sender.status.state === 'in sync', false, sender.status.state);
  t.equal(countOf('synced'), 0);
});
