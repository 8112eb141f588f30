// Which names of a directory count: rules, --path and the reserved name hide some.
import { systemCode } from '../errors.ts';
import { type IgnoreRules, ignoreFileName } from '../snapshot/ignore.ts';
import type { Seen } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import { below, readSourceText, type SourceListing } from '../tree/source-listing.ts';
import { isInScope } from './scan-options.ts';
import type { Folder, ScanState } from './scan-state.ts';

const reservedName = '.replica';

export class Visibility {
  readonly #state: ScanState;

  constructor(state: ScanState) {
    this.#state = state;
  }

  rulesIn(folder: Folder, listing: SourceListing): IgnoreRules {
    if (!listing.seen.some(seen => seen.name === ignoreFileName && seen.kind === 'file')) {
      return folder.rules;
    }
    try {
      const text = readSourceText(this.#state.options.root, below(folder.path, ignoreFileName));
      return folder.rules.with(folder.path, text);
    } catch (error) {
      const code = systemCode(error) ?? 'EIO';
      this.#state.findings.problem(below(folder.path, ignoreFileName), code, 'cannot be read');
      return folder.rules;
    }
  }

  /** The names that count, and those that rules, --path or reservation hide. */
  visible(
    folder: Folder,
    listing: SourceListing,
    rules: IgnoreRules,
  ): { seen: readonly Seen[]; hidden: ReadonlySet<Name> } {
    const { scope } = this.#state.options;
    const isRoot = folder.depth === 0;
    if (rules.isEmpty && scope.length === 0 && !isRoot) {
      return { seen: listing.seen, hidden: new Set() };
    }
    const hidden = new Set<Name>();
    const seen = listing.seen.filter(one => {
      const path = below(folder.path, one.name);
      const shown =
        !(isRoot && one.name === reservedName) &&
        isInScope(path, scope) &&
        !rules.ignores(path, one.kind === 'directory');
      if (!shown) hidden.add(one.name);
      return shown;
    });
    if (scope.length > 0) {
      // A name outside the scope is not looked at: it is neither there nor gone.
      for (const known of this.#state.observed.listing(folder.id)) {
        if (!isInScope(below(folder.path, known.name), scope)) hidden.add(known.name);
      }
    }
    return { seen, hidden };
  }
}
