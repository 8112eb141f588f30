// Wrong versions of a compiled module, one line each: what a slip of the pen may do. Textual, since
// the compiler prints one statement a line.

export interface Mutant {
  /** From 1. */
  readonly line: number;
  readonly kind: string;
  readonly before: string;
  readonly after: string;
}

type Change = (line: string) => readonly string[];

const kinds: Readonly<Record<string, Change>> = {
  negate: line =>
    edits(line, /^(\s*(?:\} )?(?:else )?(?:if|while) \()(.*)(\)(?: \{)?)$/, (_, head, test, end) =>
      isBalanced(test) ? `${head}!(${test})${end}` : line,
    ),
  'drop call': line =>
    edits(line, /^(\s+)(?:await |void )?[\w.#[\]?]+\((.*)\);$/, (_, indent, text) =>
      isBalanced(text) ? `${indent};` : line,
    ),
  compare: line => [
    ...edits(line, / === /, () => ' !== '),
    ...edits(line, / !== /, () => ' === '),
    ...edits(line, / < /, () => ' <= '),
    ...edits(line, / > /, () => ' >= '),
    ...edits(line, / <= /, () => ' < '),
    ...edits(line, / >= /, () => ' > '),
  ],
  'and, or': line => [...edits(line, / && /, () => ' || '), ...edits(line, / \|\| /, () => ' && ')],
  'off by one': line => [
    ...edits(line, / \+ 1\b(?!n)/, () => ' + 2'),
    ...edits(line, / - 1\b(?!n)/, () => ''),
    ...edits(line, / [+] 1n\b/, () => ' + 2n'),
    ...edits(line, /\.length\b(?! =)/, () => '.length - 1'),
  ],
  'plus, minus': line => [
    ...edits(line, / \+ (?=[\w(])(?!1)/, () => ' - '),
    ...edits(line, / - (?=[\w(])(?!1)/, () => ' + '),
    ...edits(line, / \+= /, () => ' -= '),
  ],
  'swap arguments': line =>
    edits(
      line,
      /([\w.#]+\()([\w.]+), ([\w.]+)\)/,
      (_, head, first, second) => `${head}${second}, ${first})`,
    ),
  'true, false': line => [
    ...edits(line, /\btrue\b/, () => 'false'),
    ...edits(line, /\bfalse\b/, () => 'true'),
  ],
};

/** All mutants of a module, in order. */
export function mutantsOf(text: string): Mutant[] {
  const found: Mutant[] = [];
  let isComment = false;
  for (const [index, line] of text.split('\n').entries()) {
    const trimmed = line.trim();
    if (trimmed.startsWith('/*')) isComment = true;
    const isSkipped = isComment || /^(?:\/\/|import |export \{|function |class )/.test(trimmed);
    if (trimmed.endsWith('*/')) isComment = false;
    // What is said to people, and checks that only a bug fails.
    if (isSkipped || /\blog\b|assert|throw new|new Error|Error\(/.test(line)) continue;
    for (const [kind, change] of Object.entries(kinds)) {
      for (const after of change(line)) {
        if (after !== line) found.push({ line: index + 1, kind, before: line, after });
      }
    }
  }
  return found;
}

export function applyMutant(text: string, { line, after }: Mutant): string {
  const lines = text.split('\n');
  lines[line - 1] = after;
  return lines.join('\n');
}

/** The line with its first match replaced, if there is one outside of texts. */
function edits(
  line: string,
  pattern: RegExp,
  replace: (...match: string[]) => string,
): readonly string[] {
  const match = pattern.exec(line);
  if (match === null) return [];
  const quotes = line.slice(0, match.index).match(/['"`]/g)?.length ?? 0;
  if (quotes % 2 === 1) return [];
  const text = replace(...match.map(one => one ?? ''));
  return [line.slice(0, match.index) + text + line.slice(match.index + match[0].length)];
}

function isBalanced(text: string | undefined): boolean {
  let depth = 0;
  for (const char of text ?? '') {
    if (char === '(') depth++;
    if (char === ')' && --depth < 0) return false;
  }
  return depth === 0;
}
