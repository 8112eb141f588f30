// The built receiver with a key that the test has too, a canary tree beside its destination, and a
// verifier that looks on: whatever a hostile peer does to its own connection, that one stays.
import fs from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { payloadSizeMax } from '../../src/limits.ts';
import type { Connection } from '../../src/net/connection.ts';
import { dial } from '../../src/net/dial.ts';
import { type Key, readKeyFile } from '../../src/store/key-file.ts';
import { type Hello, keepsXattrs, knowsXattrs, MessageType } from '../../src/wire/messages.ts';
import { drain } from './connections.ts';
import { FakeSender, rootId } from './fake-sender.ts';
import { diskFolder, makeDiskFolder } from './folders.ts';
import { LivePair } from './live-pair.ts';
import { helloOf } from './messages.ts';
import { RawPeer } from './raw-peer.ts';
import { compareReadTrees, createTree, directory, file, link, readTree } from './tree.ts';
import { withoutXattrs } from './xattrs.ts';

export class HostileScene {
  readonly pair: LivePair;
  readonly key: Key;
  readonly canary: string;
  readonly #before: ReturnType<typeof readTree>;
  #bystander: { readonly connection: Connection; isOver: boolean } | undefined;
  #goodCount = 0;

  static async open(t: Test): Promise<HostileScene> {
    const pair = new LivePair({
      folder: makeDiskFolder(t),
      receiveArgs: ['--take-over', '--fsync', 'off', '--keep', '0s'],
      pushArgs: ['--take-over', '--accept-deletes'],
    });
    t.teardown(() => pair.kill());
    await pair.startReceive();
    const scene = new HostileScene(pair);
    fs.writeFileSync(join(pair.source, 'file'), 'of the owner');
    t.teardown(() => scene.#bystander?.connection.close());
    await scene.good();
    await scene.#watch();
    return scene;
  }

  private constructor(pair: LivePair) {
    this.pair = pair;
    const keys = readKeyFile(join(pair.home.folder, 'config/replica/receiver.key'), undefined);
    if (keys?.[0] === undefined) throw new Error('the receiver has no key');
    this.key = keys[0];
    this.canary = join(pair.target, '../canary');
    createTree(this.canary, {
      file: file('sings', { mode: 0o640 }),
      folder: directory({ inner: file('too') }, { mode: 0o751 }),
      link: link('file'),
    });
    this.#before = readTree(this.canary);
  }

  /** A client that is not hostile, by hand, with the key. */
  async client(): Promise<FakeSender> {
    const { port } = this.pair;
    const options = { host: '127.0.0.1', port, key: this.key, insecure: false };
    const sender = FakeSender.over(await dial({ ...options, timeoutMs: 20_000 }));
    await sender.greet({ features: xattrFeatures });
    return sender;
  }

  /** The bare end of a connection that is greeted; of a stranger, nothing was said yet. */
  async raw(role: 'sender' | 'verifier' | 'stranger' = 'sender'): Promise<RawPeer> {
    const peer = await RawPeer.dial(this.pair.port, this.key);
    if (role === 'stranger') return peer;
    await peer.send(hostileHello(role));
    peer.welcome = await peer.until(MessageType.Welcome);
    return peer;
  }

  /** The next good client is served: its save is acknowledged, and there. */
  async good(): Promise<string[]> {
    const sender = await this.client();
    const content = `good ${++this.#goodCount}`;
    const outcome = await sender.commit([sender.file(rootId, 'good', content)]);
    await sender.close();
    const { receive, target } = this.pair;
    const faults: string[] = [];
    if (receive?.exited) faults.push(`the receiver ended: ${receive.lines.slice(-5).join('\n')}`);
    if (outcome.rejected.length > 0) faults.push('a good save was rejected');
    // Whoever has the key may have left a mode that shuts everybody but root out.
    if (!canEnter(target)) fs.chmodSync(target, 0o755);
    if (fs.readFileSync(join(target, 'good'), 'utf8') !== content) faults.push('it is not there');
    if (this.#bystander?.isOver) faults.push('another connection ended');
    return faults;
  }

  /** What must not be after anything that a peer did. */
  faults(): string[] {
    const lines = this.pair.receive?.lines ?? [];
    return [
      ...lines.filter(line => /internal error|a bug|ERR_STATE|uncaught/i.test(line)),
      ...compareReadTrees(this.#before, readTree(this.canary)).map(line => `canary: ${line}`),
    ];
  }

  /** The owner's own `push --once`; its exit code, and what differs afterwards. */
  async converge(): Promise<{ code: number | null; differences: readonly string[] }> {
    const { code, lines } = await this.pair.once();
    const differences = this.pair.differences();
    return { code, differences: code === 0 ? differences : [...differences, ...lines.slice(-5)] };
  }

  /** Anonymous memory of the receiver in MiB. */
  memoryMiB(): number {
    const text = fs.readFileSync(`/proc/${this.pair.receive?.child.pid}/status`, 'utf8');
    return Number(/RssAnon:\s+(\d+)/.exec(text)?.[1]) / 1024;
  }

  async #watch(): Promise<void> {
    const { port } = this.pair;
    const options = { host: '127.0.0.1', port, key: this.key, insecure: false };
    const connection = await dial({ ...options, timeoutMs: 20_000 });
    await connection.send(helloOf('verifier', { features: xattrFeatures, sourceId }));
    const bystander = { connection, isOver: false };
    this.#bystander = bystander;
    void connection.closed.then(() => {
      bystander.isOver = true;
    });
    const messages = connection.messages();
    for (let welcomed = false; !welcomed; ) {
      const { value } = await messages.next();
      welcomed = value?.type === MessageType.Welcome;
    }
    connection.setPayloadLimit(payloadSizeMax);
    void drain(messages);
  }
}

/** All peers are one instance of one source: nobody is fenced. */
export function hostileHello(role: 'sender' | 'verifier'): Hello {
  return helloOf(role, { features: xattrFeatures, sourceId, instanceId, takeOver: true });
}

/** Keeps extended attributes, where the receiver can set some. */
export const xattrFeatures = withoutXattrs(diskFolder()) === false ? knowsXattrs | keepsXattrs : 0n;

const sourceId = Buffer.alloc(16, 1);
const instanceId = Buffer.alloc(16, 2);

function canEnter(folder: string): boolean {
  try {
    fs.accessSync(folder, fs.constants.R_OK | fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
