// rsync as a rival: `rsync -a --delete` to a daemon, and for polling the loop that people write.
import { setTimeout as sleep } from 'node:timers/promises';
import { firstLineOf } from './owned.ts';
import { RsyncDaemon } from './rsync-daemon.ts';
import { meter, type Place, type Session, type Tool, type Work } from './tool.ts';

export const rsync: Tool = {
  name: 'rsync',
  version: () => firstLineOf('rsync', ['--version'])?.replace(/ +protocol.*/, ''),
  open: place => RsyncSession.open(place),
};

class RsyncSession implements Session {
  readonly #place: Place;
  readonly #daemon: RsyncDaemon;
  readonly #stop = new AbortController();
  #loop: Promise<void> | undefined;

  private constructor(place: Place, daemon: RsyncDaemon) {
    this.#place = place;
    this.#daemon = daemon;
  }

  static async open(place: Place): Promise<RsyncSession> {
    return new RsyncSession(place, await RsyncDaemon.open(place.target, place.folder));
  }

  copy(): Promise<Work> {
    return meter(this, async () => {
      await this.#pass();
    });
  }

  /** The client ends when the daemon has everything; the daemon's processes end right after. */
  async #pass(): Promise<void> {
    await this.#daemon.copy(this.#place.source, ['--delete']);
    await this.#daemon.idle();
  }

  async follow(): Promise<void> {
    await this.#pass();
    this.#loop = this.#repeat();
  }

  async #repeat(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(this.#place.intervalSeconds * 1000, undefined, { signal }).catch(() => {});
      // Files that vanish under it are an error to it.
      await this.#pass().catch(() => {});
    }
  }

  pids(): readonly number[] {
    return [this.#daemon.pid];
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await this.#daemon.close();
  }
}
