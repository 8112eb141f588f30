import t from 'tap';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { allowedMessages, PeerSession } from '../../src/wire/session-state.ts';
import { helloOf, welcome } from '../support/messages.ts';

const failure: Message = { type: MessageType.Failure, code: 'busy', message: '' };
const anyTime = [MessageType.Failure, MessageType.Ping, MessageType.Pong];

function after(...messages: readonly Message[]): PeerSession {
  const session = new PeerSession();
  for (const message of messages) {
    session.check(message.type);
    session.advance(message);
  }
  return session;
}

function allowed(session: PeerSession): number[] {
  return Array.from({ length: 256 }, (_, type) => type).filter(type => {
    try {
      session.check(type);
      return true;
    } catch {
      return false;
    }
  });
}

t.test('the whole table', async t => {
  t.same(allowed(after()), [MessageType.Hello, MessageType.Failure]);
  t.same(allowed(after(failure)), []);
  t.same(allowed(after(helloOf('receiver'))), [
    MessageType.Welcome,
    ...anyTime,
    MessageType.Credit,
  ]);
  t.same(allowed(after(helloOf('sender'), failure)), []);
  t.same(allowed(after(helloOf('sender'))), [
    ...anyTime,
    MessageType.ListDigests,
    MessageType.GetListing,
    MessageType.Offer,
    MessageType.GetGrains,
    MessageType.Operations,
    MessageType.CommitEnd,
    MessageType.InSync,
    MessageType.StageOpen,
    MessageType.StageData,
    MessageType.StageAbort,
  ]);
  t.same(allowed(after(helloOf('receiver'), welcome)), [
    ...anyTime,
    MessageType.Credit,
    MessageType.DirectoryDigests,
    MessageType.Listing,
    MessageType.Need,
    MessageType.Grains,
    MessageType.Durable,
    MessageType.Rejected,
    MessageType.Lost,
    MessageType.StageRefused,
    MessageType.Checked,
    MessageType.Forgotten,
  ]);
  t.same(allowed(after(helloOf('verifier'))), [
    ...anyTime,
    MessageType.Verify,
    MessageType.Mistrust,
  ]);
});

t.test('every type may come in some state', async t => {
  const states = Object.values(allowedMessages).flatMap(role => Object.values(role));
  const types = new Set(states.flatMap(set => [...set]));
  t.same([...types].sort(), Object.values(MessageType).sort());
});

t.test('says what came when', async t => {
  const text = "message of type 30 in state 'welcome' of a receiver";
  t.throws(() => after(helloOf('receiver')).check(MessageType.Operations), {
    code: 'ERR_PROTOCOL',
    message: text,
  });
});
