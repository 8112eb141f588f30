// Connections over pipes, whose other end is slow or gone.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { Connection } from '../../src/net/connection.ts';
import { pipeDuplex } from '../../src/net/pipe-duplex.ts';
import { decodeMessage } from '../../src/wire/codec.ts';
import { encodeFrame, FrameChecksum } from '../../src/wire/frame.ts';
import { FrameDecoder } from '../../src/wire/frame-decoder.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { helloOf } from '../support/messages.ts';

type Test = Parameters<Parameters<typeof t.test>[0]>[0];

function start(t: Test, script: string): ChildProcessWithoutNullStreams {
  const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  for (const pipe of [child.stdin, child.stdout]) pipe.on('error', () => {});
  return child;
}

function connect({ stdout, stdin }: ChildProcessWithoutNullStreams): Connection {
  return Connection.over(pipeDuplex(stdout, stdin), { checksum: true, peer: 'child' });
}

const turn = () => new Promise(resolve => setImmediate(resolve));

t.test('what waits for a reader that stands still arrives as it was sent', async t => {
  const child = start(t, 'exec cat');
  child.kill('SIGSTOP');
  const stream = pipeDuplex(new PassThrough(), child.stdin);
  const connection = Connection.over(stream, { checksum: true, peer: 'child' });
  const count = 100;
  // Each message a write of its own, and together more than a pipe holds.
  for (let batch = 0; batch < count; batch++) {
    void connection.send({ type: MessageType.Offer, batch, ids: Buffer.alloc(6400, batch) });
    await turn();
  }
  const decoder = new FrameDecoder({ checksum: true });
  decoder.setPayloadSizeMax(10_000);
  const batches: number[] = [];
  child.stdout.on('data', chunk => decoder.push(chunk));
  child.kill('SIGCONT');
  while (batches.length < count) {
    const frame = decoder.next();
    const message = frame && decodeMessage(frame.type, frame.payload);
    if (message?.type === MessageType.Offer) batches.push(message.batch);
    else await turn();
  }
  t.same(batches, [...Array(count).keys()]);
  await connection.close();
});

t.test('the last words of a child that has ended are heard', async t => {
  const checksum = new FrameChecksum();
  const failure = { type: MessageType.Failure, code: 'busy', message: 'later' } as const;
  const words = [helloOf('receiver'), failure].map(message => encodeFrame(message, checksum));
  const child = start(t, `echo ${Buffer.concat(words).toString('base64')} | base64 -d`);
  const connection = connect(child);
  await once(child, 'exit');
  const types: number[] = [];
  for await (const message of connection.messages()) types.push(message.type);
  t.same(types, [MessageType.Hello, MessageType.Failure]);
  await t.rejects(connection.send(helloOf('sender')), { code: 'ERR_SOCKET', message: /later/ });
  await connection.close();
});

t.test('a child that goes while it is written to ends the connection', async t => {
  const child = start(t, 'exec cat > /dev/null');
  const connection = connect(child);
  await connection.send(helloOf('sender'));
  child.kill('SIGKILL');
  await t.rejects(connection.messages().next(), { code: 'ERR_SOCKET' });
  await connection.close();
  t.ok(child.stdin.destroyed && child.stdout.destroyed);
});
