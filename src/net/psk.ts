// TLS 1.3 with an external pre-shared key (RFC 8446 section 2.2, RFC 9257): both sides prove in one
// handshake that they hold the key, there are no certificates, and X25519 keeps recorded traffic
// safe when the key leaks later.
import { createHmac } from 'node:crypto';
import type { Socket } from 'node:net';
import { type SecureContextOptions, TLSSocket } from 'node:tls';
import { ReplicaError } from '../errors.ts';

/** A shared secret and what it is called by; store/key-file.ts keeps them. */
export interface Psk {
  /** 22 characters of base64url; not secret. */
  readonly id: string;
  /** 32 random bytes. */
  readonly secret: Buffer;
}

/**
 * For both sides. Only the SHA-256 suites work with OpenSSL's callbacks for external keys, and
 * ChaCha20 would be preferred if AES were not named first.
 */
export const pskTlsOptions = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256',
} as const satisfies SecureContextOptions;

/**
 * A suite whose keys do not wear out: the numbers of records are used up first (RFC 8446 section
 * 5.5). Half as fast as AES where processors have instructions for that.
 */
const endlessSuite = 'TLS_CHACHA20_POLY1305_SHA256';
export const endlessTlsOptions = { ...pskTlsOptions, ciphers: endlessSuite } as const;

/** After a handshake: is there a limit to what one key should encrypt? */
export function wearsOut(socket: Socket): boolean {
  return socket instanceof TLSSocket && socket.getCipher().name !== endlessSuite;
}

/** The key TLS sees: never the secret itself. */
export function pskOf(key: Psk): Buffer {
  return createHmac('sha256', key.secret).update('replica/1 tls-psk').digest();
}

/** What a client calls its key by, in clear. */
export function identityOf(key: Psk): string {
  return `replica1:${key.id}`;
}

/** The id in an identity; undefined for anything else, whatever a stranger made it of. */
export function idOf(identity: string): string | undefined {
  return /^replica1:([A-Za-z0-9_-]{22})$/.exec(identity)?.[1];
}

/**
 * Throws ERR_AUTH unless the client `socket`'s handshake was done with the pre-shared key and a
 * fresh key exchange: a server that has a certificate instead is an impostor, whoever signed it.
 */
export function assertPsk(socket: TLSSocket, peer: string): void {
  // TLS 1.3 counts a pre-shared key as a resumed session; tickets are never used here.
  const isPsk = socket.isSessionReused() && Object.keys(socket.getPeerCertificate()).length === 0;
  // { type: 'ECDH', … } on OpenSSL 3.0, { type: 'TLSGroup', … } on 3.5, {} without an exchange.
  const exchange: object | null = socket.getEphemeralKeyInfo();
  const exchangeType = exchange && 'type' in exchange ? exchange.type : undefined;
  const isFresh = exchangeType === 'ECDH' || exchangeType === 'TLSGroup';
  if (isPsk && isFresh && socket.getProtocol() === 'TLSv1.3') return;
  throw new ReplicaError('ERR_AUTH', `${peer} did not prove that it has the key`);
}
