// Syncthing as a rival: two instances on loopback with homes of their own, which know each other's
// address. Nothing is announced, relayed, mapped, reported or upgraded; no event of the file system
// is watched: it polls, as replica does. Priority is that of the others. All else is its default.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Program } from '../../test/support/programs.ts';
import { firstLineOf, spawnOwned } from './owned.ts';
import { freePort } from './rsync-daemon.ts';
import { meter, type Place, type Session, type Tool, type Work } from './tool.ts';

export const syncthing: Tool = {
  name: 'Syncthing',
  version: () => firstLineOf('syncthing', ['--version'])?.replace(/^(\S+ \S+).*/, '$1'),
  open: place => SyncthingSession.open(place),
};

const apiKey = 'bench';
/** Between two questions to the REST interface. */
const askMs = 50;
const limitMs = 1_800_000;

/** One of the two instances. */
interface Side {
  readonly home: string;
  readonly id: string;
  readonly port: number;
  readonly apiPort: number;
  readonly path: string;
  readonly type: 'sendonly' | 'receiveonly';
  /** What must be there for the folder to count as mounted; made where it is not. */
  readonly marker: string;
}

/** What is read of GET /rest/db/status. */
interface FolderStatus {
  readonly state: string;
  readonly localFiles: number;
  readonly globalFiles: number;
  readonly globalBytes: number;
  readonly localBytes: number;
  readonly needTotalItems: number;
}

interface Event {
  readonly type: string;
  readonly data: { readonly from?: string } | null;
}

class SyncthingSession implements Session {
  readonly #place: Place;
  readonly #sending: Side;
  readonly #receiving: Side;
  #receiver: Program | undefined;
  #sender: Program | undefined;

  private constructor(place: Place, sending: Side, receiving: Side) {
    this.#place = place;
    this.#sending = sending;
    this.#receiving = receiving;
  }

  static async open(place: Place): Promise<SyncthingSession> {
    // A directory of the source, so that nothing has to be written there for our sake.
    const entries = fs.readdirSync(place.source, { withFileTypes: true });
    const marker = entries.find(entry => entry.isDirectory())?.name ?? '.stfolder';
    const [source, target] = [place.source, place.target];
    const sending = await makeSide(place, { path: source, type: 'sendonly', marker });
    const receiving = await makeSide(place, {
      ...{ path: target, type: 'receiveonly', marker: '.stfolder' },
    });
    const session = new SyncthingSession(place, sending, receiving);
    session.#receiver = session.#start(receiving, 0);
    await session.#answers(session.#receiver, receiving);
    return session;
  }

  /** Rescans by itself after so many seconds; 0: only when it starts. */
  #start(side: Side, rescanSeconds: number): Program {
    const other = side === this.#sending ? this.#receiving : this.#sending;
    fs.writeFileSync(join(side.home, 'config.xml'), configuration(side, other, rescanSeconds));
    const flags = ['--no-browser', '--no-restart', '--no-upgrade', '--no-default-folder'];
    return spawnOwned('syncthing', ['serve', `--home=${side.home}`, ...flags], environment(side));
  }

  copy(): Promise<Work> {
    return meter(this, () => this.#startSender(0)).finally(async () => {
      await this.#sender?.stop();
      this.#sender = undefined;
    });
  }

  async follow(): Promise<void> {
    await this.#startSender(this.#place.intervalSeconds);
  }

  /** Until it has scanned, and the receiver has all of that. */
  async #startSender(rescanSeconds: number): Promise<void> {
    const sender = this.#start(this.#sending, rescanSeconds);
    this.#sender = sender;
    await this.#answers(sender, this.#sending);
    await this.#until(sender, () => this.#hasScanned());
    await this.#until(sender, () => this.#isEqual());
  }

  /** Of events it keeps all from its start, unless asked for some kinds only. */
  async #hasScanned(): Promise<boolean> {
    const events = await ask<readonly Event[] | null>(this.#sending, 'events?since=0&timeout=1');
    return (
      events?.some(({ type, data }) => type === 'StateChanged' && data?.from === 'scanning') ===
      true
    );
  }

  async #isEqual(): Promise<boolean> {
    const { connections } = await ask<{
      readonly connections: Readonly<Record<string, { readonly connected: boolean }>>;
    }>(this.#receiving, 'system/connections');
    if (connections[this.#sending.id]?.connected !== true) return false;
    const sent = await ask<FolderStatus>(this.#sending, 'db/status?folder=bench');
    const got = await ask<FolderStatus>(this.#receiving, 'db/status?folder=bench');
    return (
      sent.state === 'idle' &&
      got.state === 'idle' &&
      got.needTotalItems === 0 &&
      got.globalFiles === sent.localFiles &&
      got.globalBytes === sent.localBytes &&
      got.localFiles === sent.localFiles
    );
  }

  #answers(program: Program, side: Side): Promise<void> {
    return this.#until(program, () =>
      ask(side, 'system/ping').then(
        () => true,
        () => false,
      ),
    );
  }

  async #until(program: Program, condition: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + limitMs;
    while (!(await condition())) {
      const isLate = performance.now() > endMs;
      if (isLate || program.exited !== undefined) {
        const why = isLate ? 'is not done' : 'ended';
        throw new Error(`syncthing ${why}:\n${program.lines.slice(-10).join('\n')}`);
      }
      await sleep(askMs);
    }
  }

  pids(): readonly number[] {
    return [this.#receiver, this.#sender].flatMap(program => program?.child.pid ?? []);
  }

  async close(): Promise<void> {
    await this.#sender?.stop();
    await this.#receiver?.stop();
  }
}

async function makeSide(place: Place, of: Pick<Side, 'path' | 'type' | 'marker'>): Promise<Side> {
  const home = join(place.folder, `syncthing-${of.type}`);
  fs.mkdirSync(home, { recursive: true });
  const side = { ...of, home, id: '', port: await freePort(), apiPort: await freePort() };
  const run = (args: readonly string[]): string =>
    execFileSync('syncthing', args, { env: environment(side), encoding: 'utf8', stdio: 'pipe' });
  run(['generate', `--home=${home}`, '--no-default-folder', '--skip-port-probing']);
  return { ...side, id: run(['--device-id', `--home=${home}`]).trim() };
}

function environment(side: { readonly home: string }): NodeJS.ProcessEnv {
  // Monitored, it says: it starts no child to watch over, which a SIGKILL would leave behind.
  return { PATH: process.env.PATH, HOME: side.home, STNOUPGRADE: '1', STMONITORED: 'yes' };
}

async function ask<T>(side: Side, question: string): Promise<T> {
  const response = await fetch(`http://127.0.0.1:${side.apiPort}/rest/${question}`, {
    headers: { 'X-API-Key': apiKey },
  });
  if (!response.ok) throw new Error(`syncthing answers ${response.status} to ${question}`);
  // Our own instance: what it answers is documented.
  return (await response.json()) as T;
}

/** What is not said is the default. */
function configuration(side: Side, other: Side, rescanSeconds: number): string {
  const devices = [side, other].map(
    one => `  <device id="${one.id}" name="${one.type}" compression="metadata">
    <address>tcp://127.0.0.1:${one.port}</address>
  </device>`,
  );
  return `<configuration version="36">
  <folder id="bench" label="bench" path="${side.path}" type="${side.type}"
      rescanIntervalS="${rescanSeconds}" fsWatcherEnabled="false" ignorePerms="false">
    <device id="${side.id}"></device>
    <device id="${other.id}"></device>
    <markerName>${side.marker}</markerName>
    <minDiskFree unit="">0</minDiskFree>
  </folder>
${devices.join('\n')}
  <gui enabled="true" tls="false">
    <address>127.0.0.1:${side.apiPort}</address>
    <apikey>${apiKey}</apikey>
  </gui>
  <options>
    <listenAddress>tcp://127.0.0.1:${side.port}</listenAddress>
    <globalAnnounceEnabled>false</globalAnnounceEnabled>
    <localAnnounceEnabled>false</localAnnounceEnabled>
    <relaysEnabled>false</relaysEnabled>
    <natEnabled>false</natEnabled>
    <announceLANAddresses>false</announceLANAddresses>
    <reconnectionIntervalS>1</reconnectionIntervalS>
    <startBrowser>false</startBrowser>
    <urAccepted>-1</urAccepted>
    <autoUpgradeIntervalH>0</autoUpgradeIntervalH>
    <crashReportingEnabled>false</crashReportingEnabled>
    <setLowPriority>false</setLowPriority>
    <stunKeepaliveStartS>0</stunKeepaliveStartS>
    <minHomeDiskFree unit="">0</minHomeDiskFree>
  </options>
</configuration>
`;
}
