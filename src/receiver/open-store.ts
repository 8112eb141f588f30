// The records of a destination: opened if they can be used, else made anew from what is there.
import { join } from 'node:path';
import { ReplicaError } from '../errors.ts';
import type { Log } from '../log.ts';
import { ReplicaStore } from '../store/replica-store.ts';
import { beginStart } from '../store/start-count.ts';
import {
  discardState,
  isInside,
  makeStateFolder,
  setStateAside,
  stateFolderFor,
} from '../store/state-folder.ts';
import { isNetworkFileSystem } from '../tree/durable.ts';
import { type Folders, privateName } from './folders.ts';
import { hasIdentity, isIdentity, writeIdentity } from './identity.ts';
import { rebuild } from './rebuild.ts';

export interface OpenStoreOptions {
  readonly folder: string;
  readonly durable: boolean;
  readonly folders: Folders;
  readonly log: Log;
}

/** Where the state of `root` goes. Throws ERR_PATH where it cannot be kept. */
export function chooseStateFolder(options: {
  readonly root: string;
  readonly stateFolder?: string | undefined;
  readonly isNetwork?: (folder: string) => boolean;
}): string {
  const { root, stateFolder, isNetwork = isNetworkFileSystem } = options;
  if (stateFolder === undefined) {
    refuseNetwork(root, isNetwork);
    return join(root, privateName, 'state');
  }
  if (isInside(stateFolder, root)) {
    const text = `the state folder '${stateFolder}' lies in the destination: it would be part of it`;
    throw new ReplicaError('ERR_PATH', `${text}; choose another, or leave --state out`);
  }
  makeStateFolder(stateFolder);
  refuseNetwork(stateFolder, isNetwork);
  return stateFolderFor(root, stateFolder);
}

/**
 * State that is lost, damaged, of another version or of another tree is made anew by reading the
 * destination: that costs time, and nothing in the tree is touched.
 */
export async function openStore(options: OpenStoreOptions): Promise<ReplicaStore> {
  const { folder, folders, log } = options;
  const found = await openUsable(options);
  if (found instanceof ReplicaStore) return found;
  if (found === undefined) {
    if (hasIdentity(folders))
      log.warn({ state: folder }, `the state of this replica is lost${how}`);
    discardState(folder);
  } else {
    const aside = setStateAside(folder);
    log.warn({ reason: found, aside }, `the state of this replica cannot be used${how}`);
  }
  const store = ReplicaStore.create(options);
  try {
    await rebuild({ store, folders, log });
    writeIdentity(folders, store.epoch);
    await store.complete();
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

const how = ': it is made anew from what is in the destination';

/** The store, why it is of no use, or undefined if none was ever completed. */
async function openUsable(options: OpenStoreOptions): Promise<ReplicaStore | string | undefined> {
  const early = beginStart(options.folder);
  if (early !== undefined) return early;
  let store: ReplicaStore | undefined;
  try {
    store = await ReplicaStore.open(options);
    if (store === undefined) return undefined;
    const reason = isIdentity(options.folders, store.epoch)
      ? store.fault()
      : 'it belongs to another folder, or to one this is a copy of';
    if (reason === undefined) return store;
    await store.close();
    return reason;
  } catch (error) {
    await store?.close();
    if (error instanceof ReplicaError && error.code === 'ERR_STATE') return error.message;
    throw error;
  }
}

function refuseNetwork(folder: string, isNetwork: (folder: string) => boolean): void {
  if (!isNetwork(folder)) return;
  const advice = "run 'replica receive --state DIR' with a local DIR, and push to that";
  const text = `'${folder}' is on a network file system, where the state cannot be kept`;
  throw new ReplicaError('ERR_PATH', `${text}: ${advice}`);
}
