// What follows the source on `replica push`: a host to dial, or a folder on this machine. Pure.
import { isIP, isIPv6 } from 'node:net';
import { fileURLToPath } from 'node:url';
import { ReplicaError } from '../errors.ts';
import { formatAddress, isLoopbackAddress } from '../net/address.ts';

export const defaultPort = 7375;

export type Target =
  /** IPv6 without brackets. */
  | {
      readonly kind: 'host';
      readonly host: string;
      readonly port: number;
      /** One of several that the receiver holds. */
      readonly replica?: string;
    }
  /** `path` begins with a slash, that of one in the user's home with /~/. */
  | {
      readonly kind: 'ssh';
      readonly user: string | undefined;
      readonly host: string;
      readonly port: number | undefined;
      readonly path: string;
    }
  /** As given: relative ones are resolved by the caller. */
  | { readonly kind: 'path'; readonly path: string };

/**
 * `host`, `host:port`, `[::1]:7375`, `replica://host:port/name`, `ssh://user@host:port/path`, a path with a slash, or `file:`
 * and a path. Throws ERR_USAGE with the remedy; `host:/path` is refused, or it would silently become a local folder.
 */
export function parseTarget(text: string): Target {
  if (text.startsWith('file:')) return { kind: 'path', path: filePath(text) };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === 'ssh') return parseSsh(text);
  if (scheme === 'replica') return parseReplica(text);
  if (scheme !== undefined) throw wrong(text, `${scheme}:// is not supported; use host:port`);
  if (text === '.' || text === '..' || /^\.{0,2}\//.test(text)) return { kind: 'path', path: text };
  if (/^[^/]*:.*\//.test(text)) {
    throw wrong(
      text,
      `over ssh it is ${overSsh(text)}; otherwise the receiver chooses the folder: give host, host:port or replica://host/name (a local path with a colon: ./a:b)`,
    );
  }
  if (text.includes('/')) return { kind: 'path', path: text };
  if (text.includes('@')) {
    throw wrong(
      text,
      'there are no user names here; give host:port, or over ssh ssh://user@host/path',
    );
  }
  return parseHostPort(text);
}

/** What rsync writes as `user@host:path`, relative to the home there. */
function overSsh(text: string): string {
  const [, place, path = ''] = /^([^:/[\]]+):(?:\d+:)?(.*)$/s.exec(text) ?? [];
  if (place === undefined) return 'ssh://host/path';
  return `ssh://${place}${path.startsWith('/') ? path : `/~/${path.replace(/^~\//, '')}`}`;
}

/** A name as receivers and targets give it to a replica. */
export function isReplicaName(text: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,63}$/i.test(text);
}

/** `replica://host[:port][/name]`. */
function parseReplica(text: string): Target {
  const [, place = '', name = ''] = /^[^/]*\/\/([^/]*)\/?(.*)$/s.exec(text) ?? [];
  const target = parseHostPort(place);
  if (name === '') return target;
  if (isReplicaName(name)) return { ...target, replica: name };
  throw wrong(text, `'${name}' is no name of a replica: letters, digits, '.', '_' and '-'`);
}

/** Which of the replicas there is meant. */
export function replicaOf(target: Target): string | undefined {
  return target.kind === 'host' ? target.replica : undefined;
}

/** The target as it names a state folder, and as people read it. */
export function hostName({ host, port, replica }: Target & { readonly kind: 'host' }): string {
  const place = formatAddress(host, port);
  return replica === undefined ? place : `replica://${place}/${replica}`;
}

/** `ssh://[user@]host[:port]/path`; /~/path is below the home there. */
function parseSsh(text: string): Target {
  const match = /^ssh:\/\/(?:([^@/]*)@)?([^/]*)(\/.*)$/is.exec(text);
  if (!match) throw wrong(text, 'write ssh://user@host/path');
  const [, user, place = '', path = ''] = match;
  // Neither may become an option of ssh.
  if (user !== undefined && !/^[a-z0-9_][a-z0-9_.+-]*$/i.test(user)) {
    throw wrong(text, `'${user}' is not a user name`);
  }
  const hasPort = !isIPv6(place) && /(?:^[^:[\]]+|\]):/.test(place);
  const { host, port } = parseHostPort(place);
  if (path === '/' || path === '/~/') throw wrong(text, 'a folder must follow the host');
  if (path.includes('\0')) throw wrong(text, 'there is a NUL in the path');
  return { kind: 'ssh', user, host, port: hasPort ? port : undefined, path };
}

/** The target as it names a state folder, and as people read it. */
export function sshName({ user, host, port, path }: Target & { readonly kind: 'ssh' }): string {
  const name = host.includes(':') ? `[${host}]` : host;
  const login = user === undefined ? name : `${user}@${name}`;
  return `ssh://${login}${port === undefined ? '' : `:${port}`}${path}`;
}

/** `host`, `host:port`, `[::1]`, `[::1]:7375` or a bare IPv6 address. Throws ERR_USAGE. */
export function parseHostPort(text: string): Target & { readonly kind: 'host' } {
  if (text === '') throw wrong(text, 'give host, host:port or a path with a slash');
  if (isIPv6(text)) return { kind: 'host', host: text, port: defaultPort };
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(text);
  if (!match) throw wrong(text, 'write an IPv6 address as [::1]:7375');
  const [, bracketed, plain = '', portText] = match;
  if (bracketed !== undefined && !isIPv6(bracketed)) {
    throw wrong(text, `'${bracketed}' is not an IPv6 address`);
  }
  if (plain.includes('@')) throw wrong(text, 'there are no user names here; give host:port');
  if (bracketed === undefined && !isHostName(plain)) {
    throw wrong(text, `'${plain}' is not a host name (a folder needs a slash: ./${plain})`);
  }
  const port = portText === undefined ? defaultPort : parsePort(portText);
  if (port === undefined || port === 0) {
    throw wrong(text, `'${portText ?? ''}' is not a port from 1 to 65535`);
  }
  return { kind: 'host', host: bracketed ?? plain, port };
}

/** A host by a word alone, as a folder may be called too: 'copy'. */
export function isWord({ host, port, replica }: Target & { readonly kind: 'host' }): boolean {
  const isPlain = port === defaultPort && replica === undefined;
  return isPlain && /^[a-z0-9_-]+$/i.test(host) && /[^0-9]/.test(host) && !isLoopbackHost(host);
}

/** 0 to 65535, or undefined. */
export function parsePort(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

/** True for names and addresses that cannot leave this machine. */
export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase();
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  return isIP(name) !== 0 && isLoopbackAddress(name);
}

function isHostName(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?$/i.test(text);
}

function filePath(text: string): string {
  if (!text.startsWith('file://')) {
    const path = text.slice('file:'.length);
    if (path === '') throw wrong(text, 'a path must follow file:');
    return path;
  }
  try {
    return fileURLToPath(text);
  } catch {
    throw wrong(text, 'write file:///absolute/path or file:path');
  }
}

function wrong(text: string, remedy: string): ReplicaError {
  return new ReplicaError('ERR_USAGE', `unusable target '${text}': ${remedy}`);
}
