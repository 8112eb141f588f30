// A live session whose bytes are counted on the wire: push, relay, receive.

import { Home, type Program } from '../../test/support/programs.ts';
import { Relay } from '../../test/support/relay.ts';
import { compareByDiff } from '../../test/support/rsync.ts';

export interface SessionOptions {
  /** Homes and states go below it. */
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly pushArgs?: readonly string[];
  readonly receiveArgs?: readonly string[];
  readonly bytesPerSecond?: number;
}

/** No byte for this long, and equal trees: the change is durable and acknowledged. */
const quietMs = 1500;

export interface Traffic {
  /** Both ways, below TLS, without the headers of TCP. */
  readonly bytes: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** From the call to the last byte. */
  readonly seconds: number;
}

export class CountedSession {
  readonly #options: SessionOptions;
  readonly #relay: Relay;
  readonly #receive: Program;
  readonly #home: Home;
  #push: Program;

  private constructor(
    options: SessionOptions,
    running: {
      readonly home: Home;
      readonly relay: Relay;
      readonly receive: Program;
      readonly push: Program;
    },
  ) {
    this.#options = options;
    this.#home = running.home;
    this.#relay = running.relay;
    this.#receive = running.receive;
    this.#push = running.push;
  }

  static async open(options: SessionOptions): Promise<CountedSession> {
    const { folder, source, target, bytesPerSecond } = options;
    const home = new Home(folder);
    const { program: receive, port } = await home.receive(target, options.receiveArgs);
    const rate = bytesPerSecond === undefined ? {} : { bytesPerSecond };
    const relay = await Relay.open({ targetPort: port, ...rate });
    const push = home.push(source, `127.0.0.1:${relay.port}`, options.pushArgs);
    return new CountedSession(options, { home, relay, receive, push });
  }

  /**
   * Bytes from the call, or of the whole session so far when it was just opened, until both trees
   * are equal and the link is quiet. `change` is made first.
   */
  async traffic(change?: () => void): Promise<Traffic> {
    const up = change === undefined ? 0 : this.#relay.bytesUp;
    const down = change === undefined ? 0 : this.#relay.bytesDown;
    change?.();
    const begunMs = performance.now();
    let lastMs = begunMs;
    let seen = this.#bytes();
    for (;;) {
      await new Promise(resolve => setTimeout(resolve, 10));
      const bytes = this.#bytes();
      const nowMs = performance.now();
      if (bytes !== seen) lastMs = nowMs;
      seen = bytes;
      if (this.#push.exited !== undefined) throw new Error(this.#push.lines.slice(-5).join('\n'));
      if (nowMs - lastMs < quietMs) continue;
      if (await this.#isEqual()) break;
      lastMs += quietMs;
      if (nowMs - begunMs > 600_000) throw new Error('the trees do not become equal');
    }
    const bytesUp = this.#relay.bytesUp - up;
    const bytesDown = this.#relay.bytesDown - down;
    return { bytes: bytesUp + bytesDown, bytesUp, bytesDown, seconds: (lastMs - begunMs) / 1000 };
  }

  /** Ends the push by SIGKILL, which loses what it has in memory, and starts it again. */
  async forget(): Promise<void> {
    const { source, pushArgs } = this.#options;
    await this.#push.stop('SIGKILL');
    this.#push = this.#home.push(source, `127.0.0.1:${this.#relay.port}`, pushArgs);
    await this.#push.line(/in sync/, 60_000);
    await this.traffic(() => {});
  }

  async close(): Promise<void> {
    await this.#push.stop();
    await this.#receive.stop();
    await this.#relay.close();
  }

  #bytes(): number {
    return this.#relay.bytesUp + this.#relay.bytesDown;
  }

  async #isEqual(): Promise<boolean> {
    const { source, target } = this.#options;
    return (await compareByDiff(source, target)).length === 0;
  }
}
