// Keys and the private files that hold them: one pairing string a line, then date and label.
//
// A key file that others could read or have written is refused: its keys are no secret any more.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { ReplicaError, systemCode } from '../errors.ts';
import { whileLocked, writePrivateFile } from './private-file.ts';

export interface Key {
  /** 16 random bytes in base64url (22 characters); names the key, is not secret. */
  readonly id: string;
  /** 32 random bytes. */
  readonly secret: Buffer;
  /** For people. */
  readonly label?: string;
  /** When it was made, ISO 8601. */
  readonly created?: string;
}

const keySecretSize = 32;
const keyIdSize = 16;
/** A thousand keys take 100 KiB. */
const keyFileSizeMax = 1024 * 1024;
const fileWord = 'the key file';
const pairing = /^replica1:([\w-]{22}):([\w-]{43})$/;
const header =
  '# Keys of replica. Whoever has one may write to the replica: keep this file to yourself.\n';

/** A new random key. */
export function createKey(options: { readonly label?: string; readonly created?: string }): Key {
  const id = randomBytes(keyIdSize).toString('base64url');
  return { ...options, id, secret: randomBytes(keySecretSize) };
}

/** `replica1:<id>:<secret>`, 75 characters, secret. */
export function formatPairing(key: Key): string {
  assert.equal(key.secret.length, keySecretSize);
  return `replica1:${key.id}:${key.secret.toString('base64url')}`;
}

/** The reverse, white space around it ignored. Throws ERR_AUTH, without quoting the text. */
export function parsePairing(text: string): Key {
  const [, id, secretText] = pairing.exec(text.trim()) ?? [];
  if (id === undefined || secretText === undefined) {
    throw new ReplicaError('ERR_AUTH', "not a pairing string: it looks like 'replica1:…:…'");
  }
  const secret = Buffer.from(secretText, 'base64url');
  // The last character has spare bits: one key has one string.
  const isExact =
    Buffer.from(id, 'base64url').toString('base64url') === id &&
    secret.toString('base64url') === secretText;
  if (!isExact) throw new ReplicaError('ERR_AUTH', 'the pairing string is damaged: copy it again');
  return { id, secret };
}

/**
 * The keys in the file, or undefined if there is no file. `uid` is the effective user's, undefined
 * where there are none. Throws ERR_AUTH if the file is not a private regular file of that user, or
 * holds anything but keys.
 */
export function readKeyFile(path: string, uid: number | undefined): readonly Key[] | undefined {
  let fd: number;
  try {
    // Not through a link, and without waiting for the writer of a named pipe.
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    const isLink = systemCode(error) === 'ELOOP' || systemCode(error) === 'EMLINK';
    const why = isLink ? 'is a symbolic link' : `cannot be opened (${systemCode(error)})`;
    throw new ReplicaError('ERR_AUTH', `the key file ${path} ${why}`, { cause: error });
  }
  try {
    const fault = fileFault(fstatSync(fd), path, uid);
    if (fault) throw new ReplicaError('ERR_AUTH', `the key file ${path} ${fault}`);
    return parseKeys(readFileSync(fd, 'utf8'), path);
  } finally {
    closeSync(fd);
  }
}

function fileFault(stat: Stats, path: string, uid: number | undefined): string | undefined {
  if (!stat.isFile()) return 'is not a regular file';
  if (stat.size > keyFileSizeMax) return 'is too large';
  if (uid === undefined) return undefined;
  if (stat.uid !== uid) return `belongs to user ${stat.uid}, not to ${uid}`;
  if ((stat.mode & 0o077) !== 0) return `can be used by others: chmod 600 ${path}`;
  return undefined;
}

function parseKeys(text: string, path: string): readonly Key[] {
  const keys = new Map<string, Key>();
  for (const [index, line] of text.split('\n').entries()) {
    const [pairingText = '', created = '-', ...label] = line.trim().split(/\s+/);
    if (pairingText === '' || pairingText.startsWith('#')) continue;
    try {
      const key = parsePairing(pairingText);
      if (keys.has(key.id)) throw new ReplicaError('ERR_AUTH', 'the key is there twice');
      keys.set(key.id, {
        ...key,
        ...(created === '-' ? {} : { created }),
        ...(label.length === 0 ? {} : { label: label.join(' ') }),
      });
    } catch (error) {
      const why = error instanceof ReplicaError ? error.message : 'unreadable';
      throw new ReplicaError('ERR_AUTH', `the key file ${path}, line ${index + 1}: ${why}`);
    }
  }
  return [...keys.values()];
}

/** What `change` reads of the file is what it replaces. Throws ERR_IO. */
export function whileKeysLocked<T>(path: string, change: () => T): T {
  return whileLocked(path, fileWord, change);
}

/**
 * Writes the file as writePrivateFile does. With `isNew`, returns false and leaves a file alone that
 * is already there. Throws ERR_IO.
 */
export function writeKeyFile(
  path: string,
  keys: readonly Key[],
  options: { readonly isNew?: boolean } = {},
): boolean {
  const text = header + keys.map(formatLine).join('');
  return writePrivateFile(path, text, { ...options, what: fileWord });
}

function formatLine(key: Key): string {
  const label = (key.label ?? '').replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  return `${[formatPairing(key), key.created ?? '-', label].join(' ').trim()}\n`;
}
