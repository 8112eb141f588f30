// replica as a tool beside its rivals: as users run it, with TLS.
import fs from 'node:fs';
import { join } from 'node:path';
import { Home, type Program } from '../../test/support/programs.ts';
import { ownProgram } from './owned.ts';
import { meter, type Place, type Session, type Tool, type Work } from './tool.ts';

export const replica: Tool = {
  name: 'replica',
  version: () => {
    // The compiled file lies in dist/bench/support.
    const path = new URL('../../../package.json', import.meta.url);
    return `replica ${/"version": "(.*)"/.exec(fs.readFileSync(path, 'utf8'))?.[1]}, Node ${process.version}`;
  },
  open: place => ReplicaSession.open(place),
};

class ReplicaSession implements Session {
  readonly #place: Place;
  readonly #home: Home;
  readonly #receive: Program;
  readonly #port: number;
  #push: Program | undefined;

  private constructor(
    place: Place,
    parts: { readonly home: Home; readonly program: Program; readonly port: number },
  ) {
    this.#place = place;
    this.#home = parts.home;
    this.#receive = parts.program;
    this.#port = parts.port;
  }

  static async open(place: Place): Promise<ReplicaSession> {
    const home = new Home(join(place.folder, 'home'));
    const { program, port } = await home.receive(place.target);
    return new ReplicaSession(place, { home, program: ownProgram(program), port });
  }

  #start(flags: readonly string[]): Program {
    const push = this.#home.push(this.#place.source, `127.0.0.1:${this.#port}`, flags);
    this.#push = ownProgram(push);
    return push;
  }

  copy(): Promise<Work> {
    return meter(this, async () => {
      const push = this.#start(['--once']);
      const { code } = await push.exit;
      if (code !== 0) throw new Error(`push exits ${code}:\n${push.lines.slice(-5).join('\n')}`);
    });
  }

  async follow(): Promise<void> {
    const push = this.#start(['--interval', `${this.#place.intervalSeconds}s`]);
    await push.line(/in sync/, 600_000);
  }

  commits(): number {
    return this.#push?.lines.filter(line => /commit \d/.test(line)).length ?? 0;
  }

  pids(): readonly number[] {
    return [this.#receive, this.#push].flatMap(program => program?.child.pid ?? []);
  }

  async close(): Promise<void> {
    await this.#push?.stop();
    await this.#receive.stop();
  }
}
