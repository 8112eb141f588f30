// What no sender may ask for, whatever the tree looks like.
import { ReplicaError } from '../errors.ts';
import { type NodeId, rootId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import { keepsXattrs, type Operation } from '../wire/messages.ts';
import { type Folders, privateName } from './folders.ts';

export interface OperationBounds {
  readonly folders: Folders;
  /** Of the sender's Hello. */
  readonly features: bigint;
  /** New node ids are below it. */
  readonly idEnd: number;
}

/** Throws ERR_PROTOCOL. */
export function checkOperation(operation: Operation, bounds: OperationBounds): void {
  const { folders, features, idEnd } = bounds;
  const xattrs = operation.kind === 'remove' ? undefined : operation.entry.xattrs;
  if (xattrs !== undefined && (features & keepsXattrs) === 0n) {
    throw new ReplicaError('ERR_PROTOCOL', 'extended attributes that were not announced');
  }
  if (operation.kind === 'attributes' && operation.parent === 0) {
    if (operation.entry.id === rootId && operation.entry.kind === 'directory') return;
    throw new ReplicaError('ERR_PROTOCOL', 'attributes of the root for another node');
  }
  const id: NodeId = operation.kind === 'remove' ? operation.id : operation.entry.id;
  if (id === rootId) throw new ReplicaError('ERR_PROTOCOL', 'an operation on the root');
  if (id >= idEnd) {
    throw new ReplicaError('ERR_PROTOCOL', `node id ${id} is far beyond the next one`);
  }
  // Attributes without a name were the root's.
  const name = operation.name as Name;
  const isReserved =
    (operation.parent === rootId && folders.isReserved(name)) ||
    (operation.kind === 'rename' &&
      operation.fromParent === rootId &&
      folders.isReserved(operation.fromName));
  if (isReserved) throw new ReplicaError('ERR_PROTOCOL', `'${privateName}' is reserved`);
}
