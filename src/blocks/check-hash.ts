// XXH3 says whether bytes changed. It is no proof against someone who chooses them: never compare
// a check with anything but one's own record, and never use the addon's static hash(), which
// ignores seeds. It crashes the process on a wrong argument: the only other use is wire/frame.ts.
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
