// A real sshd for one test, on loopback, for the user that runs it.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';

const program = '/usr/sbin/sshd';

/** Why no sshd can run here, or undefined. */
export function noSshd(): string | false {
  if (!fs.existsSync(program)) return 'there is no sshd (openssh-server)';
  const { shell, username } = userInfo();
  return /\/(?:nologin|false)$/.test(shell ?? '') && `${username} may not log in`;
}

export class Sshd {
  readonly port: number;
  /** For --rsh: reaches it with its key, and asks nothing. */
  readonly rsh: string;
  readonly user: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, options: { port: number; rsh: string }) {
    this.#child = child;
    this.port = options.port;
    this.rsh = options.rsh;
    this.user = userInfo().username;
  }

  /** `folder`: empty, private, with a short path. */
  static async open(folder: string): Promise<Sshd> {
    fs.chmodSync(folder, 0o700);
    const hostKey = makeKey(folder, 'host');
    const userKey = makeKey(folder, 'user');
    fs.copyFileSync(`${userKey}.pub`, join(folder, 'authorized'));
    const port = await freePort();
    const config = join(folder, 'sshd_config');
    const lines = [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${join(folder, 'authorized')}`,
      `PidFile ${join(folder, 'pid')}`,
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin prohibit-password',
      'UsePAM no',
      'StrictModes no',
      'LogLevel ERROR',
    ];
    fs.writeFileSync(config, `${lines.join('\n')}\n`);
    // Where it drops its rights to when it runs as root.
    if (process.geteuid?.() === 0) fs.mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    const child = spawn(program, ['-D', '-e', '-f', config], { stdio: 'ignore' });
    await reachable(port, child);
    const options = [
      ...['-F', '/dev/null', '-i', userKey, '-o', 'BatchMode=yes'],
      ...['-o', 'IdentitiesOnly=yes', '-o', 'LogLevel=ERROR'],
      ...['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null'],
    ];
    return new Sshd(child, { port, rsh: ['ssh', ...options].join(' ') });
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise(resolve => this.#child.once('exit', resolve));
    this.#child.kill();
    await ended;
  }
}

function makeKey(folder: string, name: string): string {
  const file = join(folder, name);
  const { status } = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
  if (status !== 0) throw new Error('ssh-keygen failed');
  return file;
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  const address = server.address();
  await new Promise(resolve => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Resolves when something listens there. */
async function reachable(port: number, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`sshd ended with ${child.exitCode}`);
    const isOpen = await new Promise<boolean>(resolve => {
      const socket = net.connect(port, '127.0.0.1');
      socket.on('connect', () => resolve(socket.destroy() !== undefined));
      socket.on('error', () => resolve(false));
    });
    if (isOpen) return;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}
