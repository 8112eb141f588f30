// What a new file version is built with.
import type { NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import type { BlockFinder, StagedPlace } from './block-finder.ts';
import type { Cloning } from './cloning.ts';
import type { HoleCount } from './hole-count.ts';
import type { UnfinishedStages } from './unfinished.ts';

export interface BuildOptions {
  /** Its name in the staging folder, unless it lies in a staged directory. */
  readonly name: Name;
  readonly place: StagedPlace;
  readonly id: NodeId;
  readonly mode: number; // While it is made; the final one saves a call.
  readonly sizeMax: number;
  readonly secret: Buffer;
  readonly finder: BlockFinder;
  readonly unfinished: UnfinishedStages;
  /** Large: what arrived of it survives a restart. */
  readonly isListed: boolean;
  /** Begin as a clone of the base, if that can be. */
  readonly cloning: Cloning | undefined;
  /** Shared by all that a sender has under way. */
  readonly holes: HoleCount;
}
