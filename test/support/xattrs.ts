// Extended attributes of test trees, by plain path and the package itself: `getfattr -R -d -m user`.
import fs from 'node:fs';
import { join } from 'node:path';
import type { XattrCalls } from '../../src/tree/user-xattrs.ts';

/** By name without 'user.', in hexadecimal. */
export type Attributes = Readonly<Record<string, string>>;

const calls = await load();

async function load(): Promise<XattrCalls | undefined> {
  try {
    return await import('fs-xattr' as string);
  } catch {
    return undefined;
  }
}

/** The package; only where `withoutXattrs` says nothing. */
export function xattrCalls(): XattrCalls {
  if (calls === undefined) throw new Error('fs-xattr is missing');
  return calls;
}

/** Why a test of extended attributes is skipped, or false. */
export function withoutXattrs(folder: string): string | false {
  if (calls === undefined) return 'the package fs-xattr is not installed';
  const probe = join(fs.mkdtempSync(join(folder, 'probe-')), 'probe');
  try {
    fs.writeFileSync(probe, '');
    calls.setAttributeSync(probe, 'user.probe', Buffer.alloc(1));
    return false;
  } catch (error) {
    return `no extended attributes here: ${error instanceof Error ? error.message : error}`;
  } finally {
    fs.rmSync(join(probe, '..'), { recursive: true });
  }
}

export function setXattr(path: string, name: string, hex: string): void {
  xattrCalls().setAttributeSync(path, `user.${name}`, Buffer.from(hex, 'hex'));
}

export function removeXattr(path: string, name: string): void {
  xattrCalls().removeAttributeSync(path, `user.${name}`);
}

export function xattrsAt(path: string): Attributes {
  const names = xattrCalls().listAttributesSync(path);
  const ours = names.filter(name => name.startsWith('user.')).sort();
  return Object.fromEntries(
    ours.map(name => [name.slice(5), xattrCalls().getAttributeSync(path, name).toString('hex')]),
  );
}

/** Of everything that has some, by path below the root ('' is the root), but for '.replica'. */
export function treeXattrs(root: string): Readonly<Record<string, Attributes>> {
  const paths = fs.readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();
  const all: Record<string, Attributes> = {};
  for (const path of ['', ...paths]) {
    const isOurs = path === '.replica' || path.startsWith('.replica/');
    if (isOurs || fs.lstatSync(join(root, path)).isSymbolicLink()) continue;
    const found = xattrsAt(join(root, path));
    if (Object.keys(found).length > 0) all[path] = found;
  }
  return all;
}
