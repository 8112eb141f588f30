// What pieces mean, in plain words: the oracle of everything that builds a version from them.
import assert from 'node:assert/strict';
import type { MatchedPiece } from './content-matcher.ts';

/** The new content. `base` holds the bytes of each block of the basis. */
export function patch(base: readonly Uint8Array[], pieces: readonly MatchedPiece[]): Buffer {
  return Buffer.concat(pieces.flatMap(piece => bytesOf(base, piece)));
}

function bytesOf(base: readonly Uint8Array[], piece: MatchedPiece): readonly Uint8Array[] {
  switch (piece.kind) {
    case 'copy':
      assert(piece.count > 0 && piece.from >= 0 && piece.from + piece.count <= base.length);
      return base.slice(piece.from, piece.from + piece.count);
    case 'new':
      return [piece.bytes];
    case 'zero':
      return [Buffer.alloc(piece.size)];
  }
}
