// The receiver as a few maps: what operations mean, without files. The oracle of the sender's tests.
import { type Entry, type NodeId, rootId } from '../../src/snapshot/entry.ts';
import type { Name } from '../../src/snapshot/name.ts';
import type { Operation } from '../../src/wire/messages.ts';

export class ModelReceiver {
  readonly names = new Map<NodeId, Map<Name, Entry>>([[rootId, new Map()]]);
  root: Entry | undefined;

  /** Applies the operations of one commit; returns the indexes of those that do not fit. */
  commit(operations: readonly Operation[]): number[] {
    const rejected: number[] = [];
    const limbo = new Map<NodeId, Entry>();
    for (const [index, operation] of operations.entries()) {
      if (!this.#apply(operation, limbo)) rejected.push(index);
    }
    const alive = new Set<NodeId>();
    for (const names of this.names.values())
      for (const entry of names.values()) alive.add(entry.id);
    for (const id of limbo.keys()) if (!alive.has(id)) this.#drop(id);
    return rejected;
  }

  #apply(operation: Operation, limbo: Map<NodeId, Entry>): boolean {
    if (operation.kind === 'attributes' && operation.parent === 0) {
      this.root = operation.entry;
      return true;
    }
    const names = this.names.get(operation.parent as NodeId); // 0 was handled above.
    if (names === undefined || operation.name === '') return false;
    const { name } = operation;
    const there = names.get(name);
    switch (operation.kind) {
      case 'remove':
        if (there?.id !== operation.id) return true;
        limbo.set(there.id, there);
        names.delete(name);
        return true;
      case 'attributes':
        if (there?.id !== operation.entry.id) return false;
        names.set(name, operation.entry);
        return true;
      case 'hardlink':
        if (!this.#has(operation.entry.id)) return false;
        break;
      case 'rename': {
        const from = this.names.get(operation.fromParent);
        const { id } = operation.entry;
        if (from?.get(operation.fromName)?.id === id) from.delete(operation.fromName);
        else if (!limbo.has(id)) return false;
        limbo.delete(id);
        break;
      }
      case 'directory':
        if (!this.names.has(operation.entry.id)) this.names.set(operation.entry.id, new Map());
        break;
      case 'file':
      case 'link':
        break;
    }
    if (there !== undefined && there.id !== operation.entry.id) limbo.set(there.id, there);
    names.set(name, operation.entry);
    return true;
  }

  #has(id: NodeId): boolean {
    for (const names of this.names.values()) {
      for (const entry of names.values()) if (entry.id === id) return true;
    }
    return false;
  }

  #drop(id: NodeId): void {
    for (const entry of this.names.get(id)?.values() ?? []) this.#drop(entry.id);
    this.names.delete(id);
  }

  /** path -> 'kind mode size mtime target', for comparison with a real tree. */
  tree(id: NodeId = rootId, path = '', found = new Map<string, string>()): Map<string, string> {
    for (const [name, entry] of this.names.get(id) ?? []) {
      const at = path === '' ? name : `${path}/${name}`;
      const { kind, mode, size, mtimeNs, target } = entry;
      found.set(at, `${kind} ${mode.toString(8)} ${size} ${mtimeNs} ${target}`);
      if (kind === 'directory') this.tree(entry.id, at, found);
    }
    return found;
  }
}
