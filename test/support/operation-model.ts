// The obvious receiver: applies operations to a tree in memory. Oracle for the real one, and a
// source of random commits that are valid for the tree as it is.
import assert from 'node:assert/strict';
import { type Entry, type NodeId, rootId } from '../../src/snapshot/entry.ts';
import { type Name, toName } from '../../src/snapshot/name.ts';
import type { Operation } from '../../src/wire/messages.ts';
import type { FakeSender } from './fake-sender.ts';

interface Node {
  entry: Entry;
  content: Buffer;
  /** Of a directory. */
  names: Map<Name, Node>;
}

interface Place {
  readonly parent: NodeId;
  readonly name: Name;
  readonly node: Node;
}

const namePool = ['a', 'b', 'c', 'd', 'e\xe9'].map(toName);

export class OperationModel {
  readonly #random: (max: number) => number;
  /** False: a commit moves a node at most once and brings nothing back that it removed. */
  readonly #isWild: boolean;
  #settled = new Set<NodeId>();
  #root: Node;
  #count = 0;

  constructor(random: (max: number) => number, options: { readonly isWild: boolean }) {
    this.#random = random;
    this.#isWild = options.isWild;
    this.#root = newNode({
      kind: 'directory',
      id: rootId,
      mode: 0o755,
      size: 0,
      mtimeNs: 0n,
      stamp: { ctimeNs: 0n, ino: 0n, birthtimeNs: 0n },
      version: 0,
      target: '',
    });
  }

  /** A commit of up to `max` operations, already applied to the model. */
  randomCommit(sender: FakeSender, max: number): Operation[] {
    const operations: Operation[] = [];
    const limbo = new Map<NodeId, Place>();
    this.#settled = new Set();
    const count = 1 + this.#random(max);
    while (operations.length < count) {
      // What was displaced may come back under another name: swaps and cycles.
      const waiting = [...limbo.values()];
      const back = waiting[this.#random(waiting.length * 2)];
      const operation = back ? this.#renameOf(back) : this.#randomOperation(sender);
      if (!operation || !this.#isFine(operation)) continue;
      this.apply(operation, limbo);
      operations.push(operation);
    }
    return operations;
  }

  /** A sender that compares two snapshots says at most one thing of every node. */
  #isFine(operation: Operation): boolean {
    if (this.#isWild) return true;
    const id = operation.kind === 'remove' ? operation.id : operation.entry.id;
    if (this.#settled.has(id)) return false;
    this.#settled.add(id);
    return true;
  }

  apply(operation: Operation, limbo: Map<NodeId, Place>): void {
    const { kind, parent, name } = operation;
    if (parent === 0 || name === '') return;
    const directory = this.#node(parent);
    assert(directory, `directory ${parent} of the model`);
    const present = directory.names.get(name);
    if (kind === 'remove') {
      if (present?.entry.id !== operation.id) return;
      directory.names.delete(name);
      limbo.set(operation.id, { parent, name, node: present });
      return;
    }
    const { entry } = operation;
    if (kind === 'attributes') {
      assert(present);
      // Hard links share what is not the name's.
      for (const place of this.#places()) {
        if (place.node === present) place.node.entry = entry;
      }
      return;
    }
    let node = newNode(entry);
    if (kind === 'rename') {
      const from = this.#node(operation.fromParent);
      const found = from?.names.get(operation.fromName);
      if (found?.entry.id === entry.id) {
        from?.names.delete(operation.fromName);
        node = found;
      } else {
        const waiting = limbo.get(entry.id);
        assert(waiting, 'a renamed node is somewhere');
        node = waiting.node;
      }
      limbo.delete(entry.id);
    }
    if (kind === 'hardlink') {
      const other = this.#places().find(
        one => one.node.entry.id === entry.id && one.node.entry.version === entry.version,
      );
      assert(other);
      node = other.node;
    }
    if (kind === 'file' && operation.content.kind === 'inline') {
      const { pieces } = operation.content;
      node.content = Buffer.concat(pieces.map(one => (one.kind === 'data' ? one.bytes : empty)));
    }
    if (present && present !== node && present.entry.id !== entry.id) {
      if (this.#places().filter(one => one.node === present).length === 1) {
        limbo.set(present.entry.id, { parent, name, node: present });
      }
    }
    node.entry = entry;
    directory.names.set(name, node);
  }

  /** As test/support/tree-text.ts shows a folder, with attributes of everything but the root. */
  text(): string[] {
    const lines: string[] = [];
    this.#write(this.#root, '', lines);
    return lines;
  }

  /** `parent/name id version` of every entry, in the order of the receiver's listings. */
  entries(): string[] {
    return this.#places()
      .map(({ parent, name, node }) => ({ parent, name, text: describe(parent, name, node.entry) }))
      .sort((a, b) => a.parent - b.parent || (a.name < b.name ? -1 : 1))
      .map(one => one.text);
  }

  directoryIds(): NodeId[] {
    const ids = this.#places()
      .filter(one => one.node.entry.kind === 'directory')
      .map(one => one.node.entry.id);
    return [rootId, ...ids].sort((a, b) => a - b);
  }

  #randomOperation(sender: FakeSender): Operation | undefined {
    const places = this.#places();
    const parents = [rootId, ...this.directoryIds()];
    const parent = this.#pick(parents) ?? rootId;
    const name = this.#pick(namePool);
    assert(name);
    const place = this.#pick(places);
    switch (this.#random(10)) {
      case 0:
      case 1:
        return sender.file(parent, name, `content ${this.#count++}`, { mode: 0o600 });
      case 2:
        return sender.directory(parent, name, { mode: this.#random(2) ? 0o755 : 0o500 });
      case 3:
        return sender.link(parent, name, `target-${this.#count++}`);
      case 4:
        if (place?.node.entry.kind !== 'file') return undefined;
        if (places.filter(one => one.node === place.node).length > 1) return undefined;
        return sender.file(place.parent, place.name, `content ${this.#count++}`, {
          id: place.node.entry.id,
          version: place.node.entry.version + 1,
        });
      case 5:
      case 6:
        if (!place || this.#isBelow(parent, place.node)) return undefined;
        return this.#renameTo(place, parent, name);
      case 7:
        if (place?.node.entry.kind !== 'file') return undefined;
        return { kind: 'hardlink', parent, name, entry: place.node.entry };
      case 8:
        if (!place) return undefined;
        return {
          kind: 'remove',
          parent: place.parent,
          name: place.name,
          id: place.node.entry.id,
        };
      default: {
        if (!place || place.node.entry.kind === 'link') return undefined;
        const { entry } = place.node;
        const mtimeNs = entry.mtimeNs + 1_000_000n;
        return {
          kind: 'attributes',
          parent: place.parent,
          name: place.name,
          entry: { ...entry, mtimeNs, mode: entry.mode ^ 0o040 },
        };
      }
    }
  }

  #renameOf(place: Place): Operation | undefined {
    const parent = this.#pick([rootId, ...this.directoryIds()]) ?? rootId;
    const name = this.#pick(namePool);
    assert(name);
    if (this.#isBelow(parent, place.node) || !this.#node(place.parent)) return undefined;
    return this.#renameTo(place, parent, name);
  }

  #renameTo(from: Place, parent: NodeId, name: Name): Operation | undefined {
    const present = this.#node(parent)?.names.get(name);
    // The same file under both names, or an ancestor in the way.
    if (present === from.node) return undefined;
    if (present && this.#isBelow(from.parent, present)) return undefined;
    const { entry } = from.node;
    return { kind: 'rename', fromParent: from.parent, fromName: from.name, parent, name, entry };
  }

  #isBelow(id: NodeId, node: Node): boolean {
    if (node.entry.id === id) return true;
    return [...node.names.values()].some(child => this.#isBelow(id, child));
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[this.#random(items.length)];
  }

  #node(id: NodeId): Node | undefined {
    if (id === rootId) return this.#root;
    return this.#places().find(one => one.node.entry.id === id)?.node;
  }

  #places(): Place[] {
    const places: Place[] = [];
    const walk = (parent: Node): void => {
      for (const [name, node] of parent.names) {
        places.push({ parent: parent.entry.id, name, node });
        walk(node);
      }
    };
    walk(this.#root);
    return places;
  }

  #write(node: Node, path: string, lines: string[]): void {
    const names = [...node.names].map(([name, child]) => ({
      name: Buffer.from(name, 'latin1').toString('latin1'),
      child,
    }));
    for (const { name, child } of names.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const at = path === '' ? name : `${path}/${name}`;
      const { kind, mode, mtimeNs, target } = child.entry;
      const end = ` ${mode.toString(8)} ${mtimeNs / 1000n}`;
      if (kind === 'directory') {
        lines.push(`${at}/${end}`);
        this.#write(child, at, lines);
      } else if (kind === 'link') {
        lines.push(`${at} -> ${target}`);
      } else {
        lines.push(`${at} '${child.content}'${end}`);
      }
    }
  }
}

export function describe(parent: NodeId, name: string, entry: Entry): string {
  return `${parent}/${name} ${entry.kind} ${entry.id} v${entry.version}`;
}

const empty = Buffer.alloc(0);

function newNode(entry: Entry): Node {
  return { entry, content: empty, names: new Map() };
}
