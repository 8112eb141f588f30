// XXH3 says whether bytes changed. It is no proof against someone who chooses them: never compare
// a check with anything but one's own record, and never use the addon's static hash(), which
// ignores seeds. All use of the addon is here, because it crashes the process on a wrong argument.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import xxhash, { type XXHash } from 'xxhash-addon';

export const checkSize = 16;

/** XXH3-128 under a secret that never leaves this side. */
export class CheckHash {
  readonly #hasher: XXHash;

  /** `secret`: 32 random bytes, stretched by SHAKE256 to XXH3's 192. */
  constructor(secret: Buffer) {
    assert(Buffer.isBuffer(secret) && secret.length === 32);
    const stretched = createHash('shake256', { outputLength: 192 }).update(secret).digest();
    // One hasher, reused: a new one for each block leaks memory faster than it is reclaimed.
    this.#hasher = new xxhash.XXHash128(stretched);
  }

  /** 16 bytes. */
  digest(bytes: Buffer): Buffer {
    assert(Buffer.isBuffer(bytes));
    this.#hasher.reset();
    this.#hasher.update(bytes);
    return this.#hasher.digest();
  }
}

/** XXH3-64 (seed 0) over parts, for frames on links without TLS: finds accidents, not attacks. */
export class FrameChecksum {
  readonly #hasher: XXHash = new xxhash.XXHash3(Buffer.alloc(8));

  /** 8 bytes, the same however the bytes were split into parts. */
  digest(parts: readonly Buffer[]): Buffer {
    this.#hasher.reset();
    for (const part of parts) {
      assert(Buffer.isBuffer(part));
      this.#hasher.update(part);
    }
    return this.#hasher.digest();
  }
}
