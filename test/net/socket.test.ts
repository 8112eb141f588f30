// Connections over real sockets, with and without TLS: what memory cannot show.
import t, { type Test } from 'tap';
import { payloadSizeMax } from '../../src/limits.ts';
import { silentLog } from '../../src/log.ts';
import { dial } from '../../src/net/dial.ts';
import { Listener } from '../../src/net/listener.ts';
import { createKey } from '../../src/store/key-file.ts';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { drain, type Side, side } from '../support/connections.ts';
import { helloOf, randomMessage, welcome } from '../support/messages.ts';
import { randomBytes, randomInteger, seededRandom } from '../support/random.ts';
import { until } from '../support/until.ts';

const host = '127.0.0.1';

async function open(t: Test, insecure: boolean): Promise<{ sender: Side; receiver: Side }> {
  const key = createKey({});
  const base = { host, insecure };
  const listener = await Listener.open({ ...base, port: 0, keys: () => [key], log: silentLog });
  t.teardown(() => listener.close());
  const { port } = listener.address;
  const sender = side(await dial({ ...base, port, key, timeoutMs: 20_000 }));
  const { value } = await listener.connections().next();
  if (!value) throw new Error('no connection');
  const receiver = side(value);
  await sender.connection.send(helloOf('sender'));
  await receiver.connection.send(helloOf('receiver'));
  await receiver.messages.next();
  receiver.connection.setPayloadLimit(payloadSizeMax);
  await receiver.connection.send(welcome);
  await sender.messages.next();
  sender.connection.setPayloadLimit(payloadSizeMax);
  await sender.messages.next();
  return { sender, receiver };
}

function stageData(bytes: Buffer): Message {
  const pieces = [{ kind: 'data', id: Buffer.alloc(16), bytes } as const];
  return { type: MessageType.StageData, stage: 1, pieces };
}

for (const insecure of [false, true]) {
  const how = insecure ? 'plain' : 'TLS';

  t.test(`${how}: what is sent comes out, both ways at once`, async t => {
    const { sender, receiver } = await open(t, insecure);
    const down = Array.from({ length: 400 }, (_, i) => {
      const random = seededRandom(i);
      return stageData(randomBytes(random, 1 + randomInteger(random, 65_536)));
    });
    const allowed: ReadonlySet<number> = new Set([
      MessageType.Listing,
      MessageType.DirectoryDigests,
      MessageType.Need,
      MessageType.Lost,
    ]);
    const up = Array.from({ length: 4000 }, (_, seed) => randomMessage(seededRandom(seed))).filter(
      message => allowed.has(message.type),
    );
    const [atReceiver, atSender] = [drain(receiver.messages), drain(sender.messages)];
    const send = async ({ connection }: Side, messages: readonly Message[]) => {
      for (const message of messages) await connection.send(message);
    };
    await Promise.all([send(sender, down), send(receiver, up)]);
    await sender.connection.waitForCredit(0);
    await until(() => sender.connection.bytesReceived >= receiver.connection.bytesSent);
    await Promise.all([sender.connection.close(), receiver.connection.close()]);
    t.same((await atReceiver).received.length, down.length);
    t.same((await atReceiver).received, down);
    t.same((await atSender).received, up);
  });

  t.test(`${how}: a Failure arrives while the peer is sending as fast as it can`, async t => {
    for (let round = 0; round < 10; round++) {
      const { sender, receiver } = await open(t, insecure);
      const sending = (async () => {
        for (;;) await sender.connection.send(stageData(Buffer.alloc(60_000, round)));
      })();
      const failed = sending.catch(error => error);
      const consuming = drain(sender.messages);
      for (let i = 0; i <= round; i++) await receiver.messages.next();
      const closing = receiver.connection.close({ code: 'io', message: 'disk full' });
      t.match(await failed, { code: 'ERR_IO', message: /disk full/ }, `round ${round}`);
      t.match((await consuming).received.at(-1), { type: MessageType.Failure, code: 'io' });
      await Promise.all([sender.connection.close(), closing]);
    }
  });

  t.test(`${how}: a receiver that does not read takes no more memory`, async t => {
    const { sender, receiver } = await open(t, insecure);
    let sent = 0;
    const sending = (async () => {
      for (;;) {
        await sender.connection.send(stageData(Buffer.alloc(60_000)));
        sent++;
      }
    })();
    const ended = sending.catch(error => error);
    let stuck = -1;
    let since = performance.now();
    await until(() => {
      if (sent !== stuck) since = performance.now();
      stuck = sent;
      return performance.now() - since > 200;
    });
    t.ok(receiver.connection.bytesReceived < 1024 * 1024, `${receiver.connection.bytesReceived}`);
    t.ok(sender.connection.inFlightBytes < 10 * 1024 * 1024);
    await Promise.all([receiver.connection.close(), sender.connection.close()]);
    t.match(await ended, { code: 'ERR_SOCKET' });
  });
}
