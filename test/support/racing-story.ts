// Many edits at few names, faster than they are replicated: changes of one name overtake each other,
// are taken back as it is read, and swap their files with those of other names on their way.
import fs from 'node:fs';
import { join } from 'node:path';
import { Connection } from '../../src/net/connection.ts';
import { memoryDuplexPair } from '../../src/net/memory-duplex.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { Sender } from '../../src/sender/sender.ts';
import { listAll, steps } from './mutate.ts';
import { senderOptions } from './push-once.ts';
import { pick, seededRandom } from './random.ts';
import { collectingLog, receiverDefaults } from './receivers.ts';
import { compareTrees } from './tree.ts';

export interface RacingOptions {
  /** An empty folder. */
  readonly folder: string;
  readonly seed: number;
  readonly edits: number;
}

const kinds = [
  ...['patch', 'append', 'truncate', 'insert', 'saveByRename', 'renameOver', 'swapFiles', 'remove'],
  ...['recreateOldTimes', 'sameSizeOldTimes', 'chmod', 'touch'],
];
const ownKinds = ['write', 'link', 'link', 'link', 'rename', 'rename'];
const paths = ['a', 'b', 'c', 'd', 'e', 'f', 'in/a', 'in/b'];
/** From one write on the connection to the next. */
const delayMsMax = 20;
const burstMax = 3;
/** Between two bursts, of which the receiver sees some. */
const restMsMax = 4;
/** Edits after which everything is to be equal once. */
const roundEdits = 3000;

/** What was called drift, went wrong inside, or was not equal after a flush. */
export async function racingStory({ folder, seed, edits }: RacingOptions): Promise<string[]> {
  const random = seededRandom(seed);
  const source = join(folder, 'source');
  const target = join(folder, 'target');
  fs.mkdirSync(join(source, 'in'), { recursive: true });
  fs.mkdirSync(target);
  for (const path of paths) fs.writeFileSync(join(source, path), path.repeat(100));
  const { log, lines } = collectingLog();
  const receiver = await Receiver.open({ ...receiverDefaults, root: target, log });
  const stop = new AbortController();
  const connect = async (): Promise<Connection> => {
    const [near, far] = memoryDuplexPair();
    const write = far._write.bind(far);
    far._write = (chunk, encoding, done) => {
      setTimeout(
        () => (far.destroyed ? done() : write(chunk, encoding, done)),
        random() * delayMsMax,
      );
    };
    const options = { checksum: false, peer: 'this process' };
    void receiver.serve(Connection.over(far, options));
    return Connection.over(near, options);
  };
  const base = { folder, source, receiver };
  const changes = { once: false, intervalMs: 15, signal: stop.signal, connect };
  const sender = await Sender.open(senderOptions(base, changes));
  const running = (async () => {
    for await (const _ of sender.run());
  })();
  const complaints = (): string[] => lines.filter(line => /drift|^error/.test(line));
  try {
    for (let done = 0; done < edits && complaints().length === 0; ) {
      const until = Math.min(edits, done + roundEdits);
      while (done < until) {
        const burst = 1 + Math.floor(random() * burstMax);
        for (let i = 0; i < burst; i++) edit(source, random);
        done += burst;
        await new Promise(resolve => setTimeout(resolve, random() * restMsMax));
      }
      await sender.flush();
      const differences = compareTrees(source, target);
      if (differences.length > 0) return differences;
    }
    return complaints();
  } finally {
    stop.abort();
    await running;
    await sender.close();
    await receiver.close();
  }
}

/** One edit; nothing where there is nothing to do it on. */
function edit(source: string, random: () => number): void {
  const kind = pick(random, [...kinds, ...ownKinds]);
  const listed = listAll(Buffer.from(source));
  const to = join(source, pick(random, paths));
  try {
    if (kind === 'write') fs.writeFileSync(to, 'written anew');
    else if (kind === 'link') fs.linkSync(pick(random, listed.files), to);
    else if (kind === 'rename') fs.renameSync(pick(random, listed.files), to);
    else steps[kind]?.(listed, random);
  } catch (error) {
    const isExpected = error instanceof Error && ('code' in error || listed.files.length === 0);
    if (!isExpected && !(error instanceof RangeError)) throw error;
  }
}
