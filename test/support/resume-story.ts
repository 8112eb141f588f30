// One large file on its way to the replica; at four fifths of it something breaks. How much crosses
// the wire in all, both ways, until the replica has it and nothing is left over.
import fs from 'node:fs';
import { join } from 'node:path';
import { killReceiverOf } from './kill-story.ts';
import { LivePair, type SshAddress } from './live-pair.ts';
import { randomBytes, seededRandom } from './random.ts';
import { Relay } from './relay.ts';
import { until } from './until.ts';

export type Break = 'cut' | 'kill receive' | 'kill push';

export interface ResumeOutcome {
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Of all bytes to the size of the file. */
  readonly ratio: number;
}

export async function resumeStory(options: {
  readonly folder: string;
  readonly sizeMb: number;
  readonly how: Break;
  readonly bytesPerSecond?: number;
  /** Over ssh to it. */
  readonly sshd?: SshAddress | undefined;
}): Promise<ResumeOutcome> {
  const { folder, sizeMb, how, sshd, bytesPerSecond = 40_000_000 } = options;
  const size = sizeMb * 1024 * 1024;
  let relay = sshd && (await Relay.open({ targetPort: sshd.port, bytesPerSecond }));
  const pair = new LivePair(
    sshd && relay ? { folder, transport: 'ssh', sshd: { ...sshd, port: relay.port } } : { folder },
  );
  const random = seededRandom(sizeMb);
  const fd = fs.openSync(join(pair.source, 'large'), 'w');
  for (let i = 0; i < sizeMb; i++) fs.writeSync(fd, randomBytes(random, 1024 * 1024));
  fs.closeSync(fd);
  try {
    await pair.startReceive();
    const { port } = pair;
    relay ??= await Relay.open({ targetPort: port, bytesPerSecond });
    const push = (): void => {
      pair.port = relay?.port ?? 0;
      pair.startPush();
      pair.port = port;
    };
    push();
    await until(() => (relay?.bytesUp ?? 0) >= 0.8 * size, 'four fifths');
    if (how === 'cut') relay.cut();
    if (how === 'kill push') {
      await pair.push?.stop('SIGKILL');
      push();
    }
    if (how === 'kill receive' && sshd) {
      await until(() => killReceiverOf(pair.target), 'a receiver that ssh started');
    } else if (how === 'kill receive') {
      await pair.receive?.stop('SIGKILL');
      await pair.startReceive();
    }
    await pair.equal(60_000);
    const unfinished = join(pair.target, '.replica', 'unfinished');
    await until(() => fs.readdirSync(unfinished).length === 0, 'nothing left over');
    const { bytesUp, bytesDown } = relay;
    return { bytesUp, bytesDown, ratio: (bytesUp + bytesDown) / size };
  } finally {
    await pair.kill();
    await relay?.close();
  }
}
