// A small session that is cut after a given byte, one way or the other: a sender and a receiver,
// a relay between them, and a source in which a handful of files change in each round.
import fs from 'node:fs';
import { join } from 'node:path';
import type { ConnectionLimits } from '../../src/net/connection-options.ts';
import { dial } from '../../src/net/dial.ts';
import { Listener } from '../../src/net/listener.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { Sender } from '../../src/sender/sender.ts';
import { createKey } from '../../src/store/key-file.ts';
import { optionsFor } from './fake-push.ts';
import { randomBytes, seededRandom } from './random.ts';
import { collectingLog, receiverDefaults } from './receivers.ts';
import { Relay } from './relay.ts';
import { compareTrees } from './tree.ts';
import { until } from './until.ts';

export const directions = ['up', 'down'] as const;
export type Direction = (typeof directions)[number];

export interface CutOptions {
  /** An empty folder. */
  readonly folder: string;
  readonly insecure: boolean;
  readonly limits?: Partial<ConnectionLimits>;
}

export class CutStory {
  readonly source: string;
  readonly target: string;
  readonly relay: Relay;
  /** What the two of them said that they should not have to. */
  readonly faults: string[] = [];
  readonly #parts: { listener: Listener; receiver: Receiver; sender: Sender; end: () => void };
  readonly #logLines: readonly string[];
  /** Every content that a file of the source ever had. */
  readonly #contents = new Set<string>(['']);
  #running: Promise<void> = Promise.resolve();
  #round = 0;
  #syncs = 0;
  #bug: unknown;
  /** The connection to be cut, and where. */
  #plan: { connection: number; direction: Direction; offset: number } | undefined;
  #recordedConnection = -1;
  #isCut = false;

  static async open(options: CutOptions): Promise<CutStory> {
    const { folder, insecure, limits } = options;
    const root = join(folder, 'target');
    fs.mkdirSync(root);
    const { log, lines } = collectingLog();
    const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off', log });
    const key = createKey({});
    const host = '127.0.0.1';
    const listener = await Listener.open({
      ...{ host, port: 0, keys: () => [key], insecure, log, limits },
    });
    const serving = async (): Promise<void> => {
      for await (const connection of listener.connections()) void receiver.serve(connection);
    };
    void serving();
    let story: CutStory | undefined;
    const cutOf = (direction: Direction) => (connection: number) => {
      return story ? story.#offsetOf(connection, direction) : undefined;
    };
    const relay = await Relay.open({
      targetPort: listener.address.port,
      cutAfter: cutOf('up'),
      cutAnswerAfter: cutOf('down'),
      isRecorded: connection => story !== undefined && connection === story.#recordedConnection,
      onCut: () => {
        if (story) story.#onCut();
      },
    });
    const ending = new AbortController();
    const { signal } = ending;
    const connect = () => {
      return dial({ host, port: relay.port, key, insecure, timeoutMs: 20_000, limits });
    };
    const senderOptions = optionsFor(folder, { connect, once: false, signal, intervalMs: 20 });
    fs.mkdirSync(senderOptions.source);
    const sender = await Sender.open(senderOptions);
    const parts = { listener, receiver, sender, end: () => ending.abort() };
    story = new CutStory({ source: senderOptions.source, target: root, relay, parts, lines });
    story.#running = story.#follow(sender);
    return story;
  }

  private constructor(given: {
    source: string;
    target: string;
    relay: Relay;
    parts: { listener: Listener; receiver: Receiver; sender: Sender; end: () => void };
    lines: readonly string[];
  }) {
    this.source = given.source;
    this.target = given.target;
    this.relay = given.relay;
    this.#parts = given.parts;
    this.#logLines = given.lines;
    fs.mkdirSync(this.#at('sub'));
    this.#write('kept');
    this.#write('moved0');
    this.change();
  }

  get port(): number {
    return this.#parts.listener.address.port;
  }

  /** One new file, one with other content, a rename, a removal, a link and a hard link. */
  change(): void {
    const before = this.#round++;
    const now = this.#round;
    this.#write(`new${now}`);
    this.#write('sub/edited');
    fs.renameSync(this.#at(`moved${before}`), this.#at(`moved${now}`));
    fs.rmSync(this.#at(`new${before}`), { force: true });
    fs.rmSync(this.#at('link'), { force: true });
    fs.symlinkSync(`to-${now}`, this.#at('link'));
    fs.rmSync(this.#at(`sub/hard${before}`), { force: true });
    fs.linkSync(this.#at('kept'), this.#at(`sub/hard${now}`));
  }

  /** Bytes each way of a session that brings one round of changes, cut nowhere. */
  async measure(): Promise<Readonly<Record<Direction, number>>> {
    const before = { up: this.relay.bytesUp, down: this.relay.bytesDown };
    this.change();
    await this.reconnect();
    const { bytesUp, bytesDown } = this.relay;
    return { up: bytesUp - before.up, down: bytesDown - before.down };
  }

  /** The next session brings a round of changes and is cut; both go on, and end equal. */
  async cutAt(direction: Direction, offset: number): Promise<{ readonly isCut: boolean }> {
    this.#isCut = false;
    this.#plan = { connection: this.relay.connections, direction, offset };
    this.change();
    await this.reconnect();
    this.#plan = undefined;
    return { isCut: this.#isCut };
  }

  /** A round of changes, of which the relay keeps what the sender sends. */
  async record(): Promise<Buffer> {
    this.#recordedConnection = this.relay.connections;
    this.change();
    await this.reconnect();
    return Buffer.concat(this.relay.recorded);
  }

  /** Another connection, until it is in sync; what happened meanwhile is judged. */
  async reconnect(): Promise<void> {
    this.relay.cut();
    await this.synced();
  }

  async synced(): Promise<void> {
    const from = this.#syncs;
    await until(() => {
      if (this.#bug !== undefined) throw this.#bug;
      return this.#syncs > from && compareTrees(this.source, this.target).length === 0;
    }, 'a copy');
    this.#judge('in the end');
  }

  /** Until the sender dialled again. */
  async anotherConnection(than: number): Promise<void> {
    await until(() => this.relay.connections > than, 'another connection');
  }

  async close(): Promise<void> {
    const { listener, receiver, sender, end } = this.#parts;
    end();
    await this.#running;
    await sender.close();
    await this.relay.close();
    await listener.close();
    await receiver.close();
  }

  #offsetOf(connection: number, direction: Direction): number | undefined {
    const plan = this.#plan;
    return plan?.connection === connection && plan.direction === direction
      ? plan.offset
      : undefined;
  }

  #onCut(): void {
    this.#isCut = true;
    this.#judge('at the cut');
  }

  /** Whatever there is, is whole; nothing is called drift, or an error. */
  #judge(when: string): void {
    const { receiver } = this.#parts;
    if (receiver.driftCount > 0) this.faults.push(`${when}: drift`);
    for (const line of this.#logLines) {
      if (/^error|drift/.test(line)) this.faults.push(`${when}: ${line}`);
    }
    for (const folder of ['', 'sub']) this.#judgeFiles(when, folder);
  }

  #judgeFiles(when: string, folder: string): void {
    const at = join(this.target, folder);
    if (!fs.existsSync(at)) return;
    for (const entry of fs.readdirSync(at, { withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const content = fs.readFileSync(join(at, entry.name), 'latin1');
      if (!this.#contents.has(content)) this.faults.push(`${when}: ${entry.name} is torn`);
    }
  }

  async #follow(sender: Sender): Promise<void> {
    try {
      for await (const event of sender.run()) {
        if (event.kind === 'synced') this.#syncs++;
        if (event.kind === 'lost') this.faults.push('lost');
        if (event.kind === 'problem') this.faults.push(event.problem.message);
      }
    } catch (error) {
      this.#bug = error;
    }
  }

  #at(name: string): string {
    return join(this.source, name);
  }

  #write(name: string): void {
    const seed = this.#contents.size;
    const content = randomBytes(seededRandom(seed), 200 + (seed % 100));
    this.#contents.add(content.toString('latin1'));
    fs.writeFileSync(this.#at(name), content);
  }
}
