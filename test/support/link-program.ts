// Run as a program, with another environment or another Node than the test's:
//   link-program listen <pairing>                prints its port, then what became of one connection
//   link-program dial <pairing> <host> <port>    prints what became of it
//   link-program trust <host> <port>             a plain TLS client with the usual authorities
import tls from 'node:tls';
import { payloadSizeMax } from '../../src/limits.ts';
import { silentLog } from '../../src/log.ts';
import type { Connection } from '../../src/net/connection.ts';
import { dial } from '../../src/net/dial.ts';
import { Listener } from '../../src/net/listener.ts';
import { parsePairing } from '../../src/store/key-file.ts';
import { helloOf, welcome } from './messages.ts';

const [command, ...words] = process.argv.slice(2);

async function listen(pairing: string): Promise<string> {
  const key = parsePairing(pairing);
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    keys: () => [key],
    insecure: false,
    log: silentLog,
  });
  console.log(listener.address.port);
  const { value: connection } = await listener.connections().next();
  if (!connection) throw new Error('closed');
  await listener.close();
  await connection.send(helloOf('receiver'));
  const messages = connection.messages();
  const { value: hello } = await messages.next();
  connection.setPayloadLimit(payloadSizeMax);
  await connection.send(welcome);
  for await (const _ of messages);
  return `served ${connection.peerKeyId} ${hello && 'label' in hello ? hello.label : ''}`;
}

async function dialOnce(pairing: string, host: string, port: string): Promise<string> {
  let connection: Connection | undefined;
  try {
    const key = parsePairing(pairing);
    connection = await dial({ host, port: Number(port), key, insecure: false, timeoutMs: 10_000 });
    await connection.send(helloOf('sender', { label: process.version }));
    const messages = connection.messages();
    await messages.next();
    connection.setPayloadLimit(payloadSizeMax);
    const { value } = await messages.next();
    return `welcome ${value && 'watermark' in value ? value.watermark : ''}`;
  } catch (error) {
    return `${error instanceof Error && 'code' in error ? error.code : error}`;
  } finally {
    await connection?.close();
  }
}

async function trust(host: string, port: string): Promise<string> {
  return new Promise(resolve => {
    const socket = tls.connect({ host, port: Number(port), servername: 'localhost' }, () => {
      resolve(socket.authorized ? 'trusted' : 'refused');
      socket.destroy();
    });
    socket.on('error', error => resolve(String('code' in error ? error.code : error)));
  });
}

const [first = '', second = '', third = ''] = words;
if (command === 'listen') console.log(await listen(first));
if (command === 'dial') console.log(await dialOnce(first, second, third));
if (command === 'trust') console.log(await trust(first, second));
