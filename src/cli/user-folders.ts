// Where a user's keys, settings and state live (XDG Base Directory Specification).
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { ReplicaError, systemCode } from '../errors.ts';
import { formatAddress } from '../net/address.ts';
import type { CliContext } from './context.ts';

export interface UserFolders {
  /** $XDG_CONFIG_HOME/replica */
  readonly config: string;
  /** $XDG_STATE_HOME/replica */
  readonly state: string;
  readonly configFile: string;
  readonly receiverKey: string;
  /** One key file for each receiver that `replica pair` was told of. */
  readonly pairedKeys: string;
}

export function userFolders(context: Pick<CliContext, 'env' | 'home'>): UserFolders {
  const config = join(base(context, 'XDG_CONFIG_HOME', '.config'), 'replica');
  return {
    config,
    state: join(base(context, 'XDG_STATE_HOME', '.local/state'), 'replica'),
    configFile: join(config, 'config.json'),
    receiverKey: join(config, 'receiver.key'),
    pairedKeys: join(config, 'paired'),
  };
}

/** The file in which `pair` keeps the key of host:port. Host names do not care about case. */
export function pairedKeyFile(folders: UserFolders, host: string, port: number): string {
  return join(
    folders.pairedKeys,
    `${encodeURIComponent(formatAddress(host.toLowerCase(), port))}.key`,
  );
}

/** One sender's state folder below `folder`: the same for the same source and target. */
export function senderStateFolder(folder: string, source: string, target: string): string {
  const digest = createHash('sha256').update(`${source}\0${target}`).digest('hex');
  return join(folder, digest.slice(0, 16));
}

/** Makes a folder only its owner may enter, with its parents. */
export function makePrivateFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    const code = systemCode(error) ?? 'unknown error';
    throw new ReplicaError('ERR_IO', `cannot make the folder ${path} (${code})`, { cause: error });
  }
}

/** The specification: a relative path there is invalid and ignored. */
function base(
  context: Pick<CliContext, 'env' | 'home'>,
  variable: string,
  fallback: string,
): string {
  const value = context.env[variable];
  return value !== undefined && isAbsolute(value) ? value : join(context.home, fallback);
}
