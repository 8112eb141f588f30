// What a connection is made with.
import {
  closeLingerMs,
  creditIdleMs,
  deadAfterMs,
  frameMs,
  handshakeMs,
  pingAfterMs,
  slowestBytesPerSecond,
  tlsRecordsMax,
  tlsRecordsWorn,
} from '../limits.ts';
import type { LinkLimits } from './link-clock.ts';
import type { Compression } from './packing.ts';
import type { Throttle } from './throttle.ts';

export interface ConnectionLimits extends LinkLimits {
  readonly creditIdleMs: number;
  readonly closeLingerMs: number;
  /** TLS records after which isWorn, and after which the connection breaks. */
  readonly tlsRecordsWorn: number;
  readonly tlsRecordsMax: number;
}

export const defaultLimits: ConnectionLimits = {
  helloMs: handshakeMs,
  pingAfterMs,
  deadAfterMs,
  frameMs,
  slowestBytesPerSecond,
  creditIdleMs,
  closeLingerMs,
  tlsRecordsWorn,
  tlsRecordsMax,
};

export type OnRead = (byteCount: number) => void;

export interface ConnectionOptions {
  /** True where nothing else protects the bytes. */
  readonly checksum: boolean;
  /** Its key may encrypt so much only; default: where there is no checksum. */
  readonly wearsOut?: boolean | undefined;
  /** Who is at the other end, for messages to people. */
  readonly peer: string;
  readonly peerKeyId?: string | undefined;
  /** Closes the connection when it aborts. */
  readonly signal?: AbortSignal | undefined;
  readonly limits?: Partial<ConnectionLimits> | undefined;
  /** Without it nothing is compressed. */
  readonly compression?: Compression | undefined;
  /** What is written keeps to it. */
  readonly throttle?: Throttle | undefined;
  /** Called for each chunk that was read. */
  readonly onRead?: OnRead | undefined;
}
