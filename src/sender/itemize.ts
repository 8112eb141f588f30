// One line for people about a change, as --dry-run prints it.
import { printable } from '../snapshot/name.ts';
import type { Change } from './change.ts';

/** 'create', 'modify', 'rename', 'link', 'attributes' or 'delete', then the path. */
export function itemize(change: Change): string {
  const path = printable(change.path === '' ? '.' : change.path);
  switch (change.kind) {
    case 'directory':
      return `create      ${path}/`;
    case 'link':
      return `${change.isNew ? 'create     ' : 'modify     '} ${path} -> ${printable(change.entry.target)}`;
    case 'file':
      return `${change.isNew ? 'create     ' : 'modify     '} ${path} (${change.entry.size} bytes)`;
    case 'hardlink':
      return `hard link   ${path}`;
    case 'rename':
      return `rename      ${printable(change.fromPath)} -> ${path}`;
    case 'remove':
      return `delete      ${path}${change.isDirectory ? '/' : ''}`;
    case 'attributes':
      return `attributes  ${path}`;
  }
}

/** A delete that is held; `path` in latin1. */
export function itemizeHeld(path: string): string {
  return `held delete ${printable(path)}`;
}
