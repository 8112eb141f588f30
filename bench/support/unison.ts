// Unison as a rival: a server on a socket of this machine, and a client in batch mode that lets the
// source win, once or with -repeat. It keeps times of files, not of directories.
import fs from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../../test/support/programs.ts';
import { firstLineOf, spawnOwned } from './owned.ts';
import { freePort } from './rsync-daemon.ts';
import { meter, type Place, type Session, type Tool, type Work } from './tool.ts';

export const unison: Tool = {
  name: 'Unison',
  version: () => firstLineOf('unison', ['-version'])?.replace('version ', ''),
  open: place => UnisonSession.open(place),
};

class UnisonSession implements Session {
  readonly #place: Place;
  readonly #server: Program;
  readonly #port: number;
  #client: Program | undefined;

  private constructor(place: Place, server: Program, port: number) {
    this.#place = place;
    this.#server = server;
    this.#port = port;
  }

  static async open(place: Place): Promise<UnisonSession> {
    const port = await freePort();
    const args = ['-socket', String(port), '-listen', '127.0.0.1'];
    const server = spawnOwned('unison', args, environment(place, 'server'));
    await server.line(/server started/);
    return new UnisonSession(place, server, port);
  }

  #start(flags: readonly string[]): Program {
    const { source, target } = this.#place;
    const roots = [source, `socket://127.0.0.1:${this.#port}/${target}`];
    const quiet = ['-batch', '-auto', '-dumbtty', '-log=false', '-confirmbigdel=false'];
    const args = [...roots, ...quiet, '-times', '-force', source, ...flags];
    const client = spawnOwned('unison', args, environment(this.#place, 'client'));
    this.#client = client;
    return client;
  }

  copy(): Promise<Work> {
    return meter(this, async () => {
      const client = this.#start([]);
      const { code } = await client.exit;
      if (code !== 0)
        throw new Error(`unison exits ${code}:\n${client.lines.slice(-5).join('\n')}`);
    });
  }

  async follow(): Promise<void> {
    const client = this.#start(['-repeat', String(this.#place.intervalSeconds)]);
    await client.line(/Sleeping for/, 600_000);
  }

  pids(): readonly number[] {
    return [this.#server, this.#client].flatMap(program => program?.child.pid ?? []);
  }

  async close(): Promise<void> {
    await this.#client?.stop();
    await this.#server.stop();
  }
}

/** Each side has its own archives. */
function environment(place: Place, side: string): NodeJS.ProcessEnv {
  const home = join(place.folder, `unison-${side}`);
  fs.mkdirSync(home, { recursive: true });
  return { PATH: process.env.PATH, HOME: home, UNISON: home, LC_ALL: 'C' };
}
