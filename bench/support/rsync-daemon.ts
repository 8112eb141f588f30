// The rival: an rsync daemon on loopback, and `rsync -a` to it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { Relay } from '../../test/support/relay.ts';
import { own } from './owned.ts';
import { type Cost, endedChildrenSeconds, ProcessMeter } from './processes.ts';

/** Where a daemon runs, if not on loopback. */
export interface DaemonPlace {
  readonly address: string;
  /** The command as it is started there. */
  readonly wrap: (command: readonly string[]) => readonly string[];
  readonly answers: (port: number) => Promise<boolean>;
}

const loopback: DaemonPlace = { address: '127.0.0.1', wrap: command => command, answers };

export class RsyncDaemon {
  readonly #child: ChildProcess;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** Serves `folder` as module 'bench', writable. */
  static async open(folder: string, configFolder: string, at = loopback): Promise<RsyncDaemon> {
    const port = await freePort();
    const config = join(configFolder, 'rsyncd.conf');
    const user = process.getuid?.() === 0 ? 'uid = 0\ngid = 0\n' : '';
    fs.writeFileSync(config, `use chroot = no\n${user}[bench]\npath = ${folder}\nread only = no\n`);
    const options = ['--daemon', '--no-detach', `--address=${at.address}`, `--port=${port}`];
    const [file = '', ...args] = at.wrap(['rsync', ...options, `--config=${config}`]);
    const child = own(spawn(file, args, { stdio: 'inherit' }));
    for (let attempt = 0; !(await at.answers(port)); attempt++) {
      if (attempt > 200) throw new Error('the rsync daemon does not answer');
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    return new RsyncDaemon(child, port);
  }

  /** Copies `source/` to the module, `via` a relay if given; resolves with the seconds it took. */
  async copy(source: string, flags: readonly string[] = [], via = this.port): Promise<number> {
    const begunMs = performance.now();
    const args = ['-a', ...flags, `${source}/`, `rsync://127.0.0.1:${via}/bench/`];
    const child = own(spawn('rsync', args, { stdio: 'inherit' }));
    const [code] = await once(child, 'close');
    if (code !== 0) throw new Error(`rsync exits ${code}`);
    return (performance.now() - begunMs) / 1000;
  }

  /** The same, with the bytes both ways on the wire. */
  async counted(
    source: string,
    flags: readonly string[],
    bytesPerSecond?: number,
  ): Promise<{ readonly bytes: number; readonly seconds: number }> {
    const rate = bytesPerSecond === undefined ? {} : { bytesPerSecond };
    const relay = await Relay.open({ targetPort: this.port, ...rate });
    const seconds = await this.copy(source, flags, relay.port);
    const bytes = relay.bytesUp + relay.bytesDown;
    await relay.close();
    return { bytes, seconds };
  }

  /** The same with what it cost on either side; `viaPort`: through a relay to the daemon. */
  async measure(
    source: string,
    options: { readonly flags: readonly string[]; readonly viaPort?: number },
  ): Promise<{ seconds: number; client: number; daemon: Cost }> {
    const meter = new ProcessMeter(this.#child.pid ?? 0);
    const startSeconds = endedChildrenSeconds();
    const seconds = await this.copy(source, options.flags, options.viaPort);
    await this.idle();
    return { seconds, client: endedChildrenSeconds() - startSeconds, daemon: meter.stop() };
  }

  /** Until the daemon has waited for the processes of the last connection. */
  async idle(): Promise<void> {
    const path = `/proc/${this.#child.pid}/task/${this.#child.pid}/children`;
    while (fs.readFileSync(path, 'latin1') !== '') {
      await new Promise(resolve => setTimeout(resolve, 10));
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async close(): Promise<void> {
    this.#child.kill();
    await once(this.#child, 'close');
  }
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('close', () => socket.destroy());
    setTimeout(() => socket.destroy(), 100);
  });
}
