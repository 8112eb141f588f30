// A folder as text, for comparing: one line an entry, in byte order. Names are latin1.
import fs from 'node:fs';

export interface TreeTextOptions {
  /** Show modes and times (µs) too. */
  readonly attributes?: boolean;
}

export function treeText(root: string, options: TreeTextOptions = {}): string[] {
  const lines: string[] = [];
  walk(root, '', options, lines);
  return lines;
}

function walk(root: string, path: string, options: TreeTextOptions, lines: string[]): void {
  const folder = Buffer.from(`${root}/${path}`, 'latin1');
  for (const name of fs.readdirSync(folder, 'latin1').sort()) {
    if (path === '' && name === '.replica') continue;
    const at = path === '' ? name : `${path}/${name}`;
    const full = Buffer.from(`${root}/${at}`, 'latin1');
    const stats = fs.lstatSync(full, { bigint: true });
    const mode = (stats.mode & 0o7777n).toString(8);
    const end = options.attributes ? ` ${mode} ${stats.mtimeNs / 1000n}` : '';
    if (stats.isDirectory()) {
      lines.push(`${at}/${end}`);
      walk(root, at, options, lines);
    } else if (stats.isSymbolicLink()) {
      lines.push(`${at} -> ${fs.readlinkSync(full, 'latin1')}`);
    } else if (stats.isFile()) {
      const bytes = fs.readFileSync(full);
      const text = bytes.length <= 40 ? `'${bytes}'` : `${bytes.length} bytes`;
      lines.push(`${at} ${text}${end}`);
    } else {
      lines.push(`${at} ?`);
    }
  }
}
