// How the scanner gets at the source: calls that return when the answer is there. `DirectSource`
// makes them on the calling thread, `SourceThreads` on threads of its own.

import assert from 'node:assert/strict';
import { type AttributeRules, defaultAttributes } from '../snapshot/attribute-rules.ts';
import { SeenWriter } from '../snapshot/listing.ts';
import {
  listSource,
  readSourceLink,
  readSourceText,
  SourceListing,
  type SourceStats,
  statSource,
} from './source-listing.ts';
import { readSourceXattrs, type SeenInode } from './source-xattrs.ts';
import type { UserXattrs } from './user-xattrs.ts';

/** A directory that is going to be listed. */
export interface Listable {
  readonly path: string;
  readonly device: bigint;
}

/** Paths are below the root, latin1. All throw the system's errors. */
export interface Source {
  /** How many directories `expect` makes use of. */
  readonly lookahead: number;
  /** These will be listed next; a hint. */
  expect(folders: readonly Listable[]): void;
  list(folder: Listable): SourceListing;
  /** undefined: not there. */
  stat(path: string): SourceStats | undefined;
  /** Stats of many; an error in place of what cannot be looked at. */
  statAll(paths: readonly string[]): readonly (SourceStats | undefined | Error)[];
  readLink(path: string): string;
  readText(path: string): string;
  /** As readSourceXattrs. */
  readXattrs(path: string, seen: SeenInode): string | undefined;
}

export interface DirectSourceOptions {
  readonly attributes?: AttributeRules | undefined;
  /** If they are to be read. */
  readonly xattrs?: UserXattrs | undefined;
  /** Before each system call of a listing. */
  readonly onCall?: () => void;
}

export class DirectSource implements Source {
  readonly lookahead = 0;
  readonly #root: string;
  readonly #attributes: AttributeRules;
  readonly #xattrs: UserXattrs | undefined;
  readonly #onCall: () => void;
  readonly #writer = new SeenWriter();

  constructor(root: string, options: DirectSourceOptions = {}) {
    this.#root = root;
    this.#attributes = options.attributes ?? defaultAttributes;
    this.#xattrs = options.xattrs;
    this.#onCall = options.onCall ?? (() => {});
  }

  expect(_: readonly Listable[]): void {}

  list({ path, device }: Listable): SourceListing {
    this.#writer.reset();
    const parts = listSource(this.#root, path, {
      device,
      writer: this.#writer,
      attributes: this.#attributes,
      onCall: this.#onCall,
    });
    return new SourceListing({ ...parts, bytes: Buffer.from(parts.bytes) });
  }

  stat(path: string): SourceStats | undefined {
    return statSource(this.#root, path, this.#attributes);
  }

  statAll(paths: readonly string[]): (SourceStats | undefined | Error)[] {
    return paths.map(path => {
      try {
        return this.stat(path);
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error));
      }
    });
  }

  readLink(path: string): string {
    return readSourceLink(this.#root, path);
  }

  readText(path: string): string {
    return readSourceText(this.#root, path);
  }

  readXattrs(path: string, seen: SeenInode): string | undefined {
    assert(this.#xattrs, 'extended attributes are not kept');
    return readSourceXattrs(this.#root, { path, seen }, this.#xattrs);
  }
}
