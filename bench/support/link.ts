// Two machines with a slow link between them: two network namespaces joined by a pair of virtual
// interfaces, with a token bucket (tc-tbf(8)) at both ends. That takes root; without it a relay in
// this process stands in, which limits the bytes of connections and knows nothing of packets.
import { execFileSync, spawnSync } from 'node:child_process';
import { Relay } from '../../test/support/relay.ts';
import { atEnd } from './owned.ts';

export interface Link {
  readonly kind: 'tbf' | 'relay';
  /** Where a server at the far end listens. */
  readonly farAddress: string;
  /** The command, as it is started at that end. */
  at(end: 'near' | 'far', command: readonly string[]): readonly string[];
  /** What to dial for a port of the far end. */
  dial(farPort: number): Promise<{ readonly address: string; readonly port: number }>;
  close(): Promise<void>;
}

/** What a queue of the link holds at most, in time. */
const queue = '50ms';
/** A burst: more than a tick of the kernel's clock at 100 Mbit/s, and than one large packet. */
const burst = '64kb';

export function openLink(megabitsPerSecond: number): Link {
  return canMakeNamespaces() ? openNamespaces(megabitsPerSecond) : openRelays(megabitsPerSecond);
}

function ip(args: string): void {
  execFileSync('ip', args.split(' '), { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Tried, since being root is not enough within a container. */
function canMakeNamespaces(): boolean {
  const name = `bench-try-${process.pid}`;
  const isMade = spawnSync('ip', ['netns', 'add', name]).status === 0;
  if (isMade) ip(`netns delete ${name}`);
  return isMade && spawnSync('tc', ['-V']).status === 0;
}

function openNamespaces(megabitsPerSecond: number): Link {
  const names = { near: `bench-near-${process.pid}`, far: `bench-far-${process.pid}` };
  const addresses = { near: '10.213.0.1', far: '10.213.0.2' };
  const removeAll = (): void => {
    for (const name of Object.values(names)) spawnSync('ip', ['netns', 'delete', name]);
  };
  atEnd(removeAll);
  for (const name of Object.values(names)) ip(`netns add ${name}`);
  // The pair goes with its namespaces.
  ip(`link add bench0 netns ${names.near} type veth peer name bench0 netns ${names.far}`);
  for (const end of ['near', 'far'] as const) {
    ip(`-n ${names[end]} address add ${addresses[end]}/24 dev bench0`);
    for (const device of ['lo', 'bench0']) ip(`-n ${names[end]} link set ${device} up`);
    const bucket = `rate ${megabitsPerSecond}mbit burst ${burst} latency ${queue}`;
    execFileSync('tc', `-n ${names[end]} qdisc add dev bench0 root tbf ${bucket}`.split(' '));
  }
  return {
    kind: 'tbf',
    farAddress: addresses.far,
    at: (end, command) => ['ip', 'netns', 'exec', names[end], ...command],
    dial: async port => ({ address: addresses.far, port }),
    close: async () => removeAll(),
  };
}

function openRelays(megabitsPerSecond: number): Link {
  const relays: Relay[] = [];
  return {
    kind: 'relay',
    farAddress: '127.0.0.1',
    at: (_end, command) => command,
    dial: async targetPort => {
      const bytesPerSecond = (megabitsPerSecond * 1e6) / 8;
      const relay = await Relay.open({ targetPort, bytesPerSecond });
      relays.push(relay);
      return { address: '127.0.0.1', port: relay.port };
    },
    close: async () => {
      for (const relay of relays.splice(0)) await relay.close();
    },
  };
}
