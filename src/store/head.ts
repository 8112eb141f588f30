// The one row of the receiver's state that changes with every commit.
import assert from 'node:assert/strict';
import { ReplicaError } from '../errors.ts';
import { type NodeId, nodeIdMax, rootId } from '../snapshot/entry.ts';
import { writeSize } from '../snapshot/entry-codec.ts';

export const digestSize = 16;

/** What changes with every commit, in one row. */
export interface Head {
  readonly watermark: bigint;
  /** XOR of entryDigest over all entries but the root's own. */
  readonly digest: Buffer;
  readonly entryCount: number;
  /** The smallest node id never used. */
  readonly nextId: NodeId;
  /** Numbers kept content that no commit numbers. */
  readonly keptNext: number;
}

const headSize = 8 + digestSize + 8 + 6 + 6;
const firstNodeId = rootId + 1;

export const emptyHead: Head = {
  watermark: 0n,
  digest: Buffer.alloc(digestSize),
  entryCount: 0,
  // The first id after the root's.
  nextId: firstNodeId as NodeId,
  keptNext: 1,
};

export function encodeHead(head: Head): Buffer {
  assert(head.nextId > rootId && head.nextId <= nodeIdMax + 1 && head.entryCount >= 0);
  const bytes = Buffer.allocUnsafe(headSize);
  bytes.writeBigUInt64BE(head.watermark, 0);
  head.digest.copy(bytes, 8);
  writeSize(bytes, 24, head.entryCount);
  bytes.writeUIntBE(head.nextId, 32, 6);
  bytes.writeUIntBE(head.keptNext, 38, 6);
  return bytes;
}

export function decodeHead(bytes: Buffer): Head {
  if (bytes.length !== headSize) throw new ReplicaError('ERR_STATE', 'state without its head');
  return {
    watermark: bytes.readBigUInt64BE(0),
    digest: Buffer.from(bytes.subarray(8, 24)),
    entryCount: Number(bytes.readBigUInt64BE(24)),
    nextId: bytes.readUIntBE(32, 6) as NodeId,
    keptNext: bytes.readUIntBE(38, 6),
  };
}
