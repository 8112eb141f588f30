// gitignore rules, from --exclude, --exclude-from and nested .replicaignore files. Every rule file
// speaks for its own directory and below; deeper files win, as in git.
import ignore, { type Ignore, type TestResult } from 'ignore';
import { printable } from './name.ts';

export const ignoreFileName = '.replicaignore';

interface Layer {
  /** Path of the directory the rules belong to, '' for the root, else ending in a slash. */
  readonly base: string;
  readonly rules: Ignore;
  /** Of a rule file; otherwise of the command line. */
  readonly isFile: boolean;
}

/** The rules in force in one directory. Immutable: `with` gives the rules of a subdirectory. */
export class IgnoreRules {
  static readonly none = new IgnoreRules([]);
  readonly #layers: readonly Layer[];

  private constructor(layers: readonly Layer[]) {
    this.#layers = layers;
  }

  get isEmpty(): boolean {
    return this.#layers.length === 0;
  }

  /** These rules and those of a rule file's text (or of patterns) in the directory `base`. */
  with(base: string, text: string | readonly string[]): IgnoreRules {
    const rules = ignore({ allowRelativePaths: true }).add(text);
    const isFile = typeof text === 'string';
    const layer = { base: base === '' ? '' : `${base}/`, rules, isFile };
    return new IgnoreRules([...this.#layers, layer]);
  }

  /** The rule that ignores the entry at `path`, and where it is written; undefined: none does. */
  ruleFor(path: string, isDirectory: boolean): { pattern: string; origin: string } | undefined {
    const found = this.#find(path, isDirectory);
    if (found === undefined) return undefined;
    const { base, isFile } = found.layer;
    return {
      pattern: found.verdict.rule?.pattern ?? '',
      origin: isFile ? `${printable(base)}${ignoreFileName}` : '--exclude',
    };
  }

  /** Is the entry at `path` (latin1, below the root) ignored? The last rule that matches decides. */
  ignores(path: string, isDirectory: boolean): boolean {
    return this.#find(path, isDirectory) !== undefined;
  }

  #find(path: string, isDirectory: boolean): { layer: Layer; verdict: TestResult } | undefined {
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      const layer = this.#layers[i];
      if (layer === undefined) continue;
      const relative = toText(path.slice(layer.base.length)) + (isDirectory ? '/' : '');
      const verdict = layer.rules.test(relative);
      if (verdict.ignored) return { layer, verdict };
      if (verdict.unignored) return undefined;
    }
    return undefined;
  }
}

/** Patterns are text: a name that is UTF-8 is matched as such, any other in its escaped form. */
function toText(latin1: string): string {
  for (let i = 0; i < latin1.length; i++) {
    if (latin1.charCodeAt(i) > 0x7f) {
      const text = Buffer.from(latin1, 'latin1').toString('utf8');
      return text.includes('\ufffd') ? printable(latin1) : text;
    }
  }
  return latin1;
}
