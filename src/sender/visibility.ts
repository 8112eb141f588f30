// Which names of a directory count: rules, --path and the reserved name hide some.
import { systemCode } from '../errors.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { type IgnoreRules, ignoreFileName } from '../snapshot/ignore.ts';
import type { Seen } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import { below, type SourceListing } from '../tree/source-listing.ts';
import { isInScope } from './scan-options.ts';
import type { Folder, ScanState } from './scan-state.ts';

export const reservedName = '.replica';

export interface Visible {
  readonly seen: readonly Seen[];
  readonly hidden: ReadonlySet<Name>;
  readonly tooLarge: ReadonlySet<Name>;
}

export class Visibility {
  readonly #state: ScanState;
  /** Of directories with a rule file: other rules mean that everything below is looked at anew. */
  readonly #rules = new Map<NodeId, { text: string; above: IgnoreRules; rules: IgnoreRules }>();

  constructor(state: ScanState) {
    this.#state = state;
  }

  reset(): void {
    this.#rules.clear();
  }

  /**
   * The rules in force inside a directory; the same object while they are the same. undefined where
   * they cannot be read and are not known: what they leave out may be a secret.
   */
  rulesIn(folder: Folder, listing: SourceListing): IgnoreRules | undefined {
    if (!listing.hasRules) {
      this.#rules.delete(folder.id);
      return folder.rules;
    }
    try {
      const text = this.#state.source.readText(below(folder.path, ignoreFileName));
      const known = this.#rules.get(folder.id);
      if (known?.text === text && known.above === folder.rules) return known.rules;
      const rules = folder.rules.with(folder.path, text);
      this.#rules.set(folder.id, { text, above: folder.rules, rules });
      return rules;
    } catch (error) {
      const code = systemCode(error) ?? 'EIO';
      if (code === 'ENOENT') return folder.rules;
      this.#state.findings.problem(below(folder.path, ignoreFileName), code, 'cannot be read');
      const known = this.#rules.get(folder.id);
      return known?.above === folder.rules ? known.rules : undefined;
    }
  }

  /** The rules in force inside a directory as its rule file is now; remembers nothing. */
  rulesAt(folder: Folder): IgnoreRules {
    const path = below(folder.path, ignoreFileName);
    if (this.#state.source.stat(path) === undefined) return folder.rules;
    return folder.rules.with(folder.path, this.#state.source.readText(path));
  }

  /**
   * The names that count, those that rules, --path or reservation hide, and those of files beyond
   * --max-size; undefined where every name counts.
   */
  visible(folder: Folder, listing: SourceListing, rules: IgnoreRules): Visible | undefined {
    const { scope, maxSize = Number.POSITIVE_INFINITY } = this.#state.options;
    const isRoot = folder.depth === 0;
    const isSmall = listing.largestSize <= maxSize;
    if (rules.isEmpty && scope.length === 0 && isSmall && !isRoot) return undefined;
    const tooLarge = new Set<Name>();
    const hidden = new Set<Name>();
    const seen = listing.seen.filter(one => {
      const path = below(folder.path, one.name);
      const shown =
        !(isRoot && one.name === reservedName) &&
        isInScope(path, scope) &&
        !rules.ignores(path, one.kind === 'directory');
      if (!shown) hidden.add(one.name);
      else if (isTooLarge(one, maxSize)) tooLarge.add(one.name);
      return shown && !tooLarge.has(one.name);
    });
    if (scope.length > 0) {
      // A name outside the scope is not looked at: it is neither there nor gone.
      for (const known of this.#state.observed.listing(folder.id)) {
        if (!isInScope(below(folder.path, known.name), scope)) hidden.add(known.name);
      }
    }
    return { seen, hidden, tooLarge };
  }
}

/** Is it a file that --max-size leaves out? */
export function isTooLarge({ kind, size }: Pick<Seen, 'kind' | 'size'>, maxSize: number): boolean {
  return kind === 'file' && size > maxSize;
}
