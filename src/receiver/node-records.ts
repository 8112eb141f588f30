// What the records say about where nodes are, as steps move them. The system calls come first:
// nothing here touches the tree.
import type { Entry, NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import type { Changes } from '../store/changes.ts';
import { addPlace, type FileVersion, removePlace, replacePlace } from '../store/file-places.ts';
import { keptParent, type ParentId, type Place } from '../store/receiver-records.ts';
import type { TreeView } from './tree-view.ts';

export class NodeRecords {
  readonly #tree: TreeView;
  readonly #changes: Changes;

  constructor(tree: TreeView) {
    this.#tree = tree;
    this.#changes = tree.options.changes;
  }

  /** Nothing is known of a recorded name any more. */
  forget(place: { readonly parent: ParentId; readonly name: Name }, current: Entry): void {
    this.#changes.deleteEntry(place.parent, place.name);
    if (current.kind === 'directory') {
      this.forgetDirectory(current.id);
    } else if (current.kind === 'file') {
      removePlace(this.#changes, current, place);
      this.#tree.noteMoved(current);
    }
  }

  /** A directory that is not there; what is recorded below it goes later. */
  forgetDirectory(id: NodeId): void {
    this.#changes.setDirectory(id, undefined);
    this.#changes.setOrphan(id, 'lost');
    this.#tree.setStale();
  }

  moveDirectory(id: NodeId, to: Place): void {
    const record = this.#changes.directory(id);
    if (record) this.#changes.setDirectory(id, { ...record, ...to });
  }

  /** A file's name leads from one place to another. */
  move(file: FileVersion, from: Place, to: Place): void {
    replacePlace(this.#changes, file, { from, to });
    this.#tree.noteMoved(file);
  }

  /** A file got one more name. */
  arrive(file: FileVersion, place: Place): void {
    addPlace(this.#changes, file, place);
    this.#tree.noteMoved(file);
  }

  /** A file lost a name for limbo; if it was the last, the record waits there with it. */
  leave(file: FileVersion, place: Place): void {
    const { id, version } = file;
    const record = this.#changes.file(id, version);
    if (record?.links === 1)
      this.#changes.setFile(id, version, { ...record, links: 0, places: [] });
    else removePlace(this.#changes, file, place);
    this.#tree.noteMoved(file);
  }

  /** The node at `place` went to kept content, under the name `keptAs`. */
  keep(place: Place, current: Entry, keptAs: Name): void {
    this.#changes.deleteEntry(place.parent, place.name);
    if (current.kind === 'directory') this.keepDirectory(current.id, keptAs);
    else this.move(current, place, { parent: keptParent, name: keptAs });
  }

  keepDirectory(id: NodeId, name: Name): void {
    this.moveDirectory(id, { parent: keptParent, name });
    this.#changes.setOrphan(id, 'kept');
    this.#tree.setStale();
  }
}
