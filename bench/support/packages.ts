// Real trees: packages of exact versions from the package registry, fetched once with `npm pack`,
// and the way a checkout turns one version into the next.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { dirname, join } from 'node:path';

/** Two releases of a package, and what is worth knowing about their difference. */
export interface ReleasePair {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly about: string;
}

/** Those of scenarios/releases.json. */
export function releasePairs(): readonly ReleasePair[] {
  // The compiled file lies in dist/bench/support.
  const list = new URL('../../../bench/scenarios/releases.json', import.meta.url);
  // Written by hand in the repository.
  return JSON.parse(fs.readFileSync(list, 'utf8')) as readonly ReleasePair[];
}

/** Unpacks `name@version` to `folder`, which must not be there; archives are kept in `cache`. */
export function unpackPackage(
  spec: { readonly name: string; readonly version: string },
  folder: string,
  cache: string,
): void {
  const { name, version } = spec;
  const archive = join(cache, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);
  if (!fs.existsSync(archive)) {
    fs.mkdirSync(cache, { recursive: true });
    execFileSync('npm', ['pack', '--silent', `${name}@${version}`], { cwd: cache });
  }
  fs.mkdirSync(folder, { recursive: true });
  // Owners and modes as the archive has them vary; a checkout has the user's.
  execFileSync('tar', ['-xzf', archive, '-C', folder, '--strip-components=1', '--no-same-owner']);
}

/** Folders `s` and `n` with both releases, and an empty target `t`, made anew in `folder`. */
export function unpackReleases(pair: ReleasePair, folder: string, cache: string): ReleaseTrees {
  fs.rmSync(folder, { recursive: true, force: true });
  const [source, target, next] = [join(folder, 's'), join(folder, 't'), join(folder, 'n')];
  fs.mkdirSync(target, { recursive: true });
  unpackPackage({ name: pair.name, version: pair.from }, source, cache);
  unpackPackage({ name: pair.name, version: pair.to }, next, cache);
  return { folder, source, target, next };
}

export interface ReleaseTrees {
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly next: string;
}

/**
 * Makes `tree` equal to `next` as a checkout does: files with the same content keep inode and
 * times, others are written anew and get the time of now, what is gone is removed.
 */
export function checkOut(next: string, tree: string): void {
  const wanted = new Set(filesBelow(next));
  for (const path of filesBelow(tree)) {
    if (!wanted.has(path)) removeFile(tree, path);
  }
  for (const path of wanted) {
    const content = fs.readFileSync(join(next, path));
    const file = join(tree, path);
    if (fs.existsSync(file) && fs.readFileSync(file).equals(content)) continue;
    fs.rmSync(file, { recursive: true, force: true });
    fs.mkdirSync(dirname(file), { recursive: true });
    fs.writeFileSync(file, content, { mode: fs.statSync(join(next, path)).mode });
  }
}

function removeFile(tree: string, path: string): void {
  fs.rmSync(join(tree, path));
  for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) {
    if (fs.readdirSync(join(tree, folder)).length > 0) return;
    fs.rmdirSync(join(tree, folder));
  }
}

function filesBelow(folder: string): string[] {
  const entries = fs.readdirSync(folder, { withFileTypes: true, recursive: true });
  const files = entries.filter(entry => entry.isFile());
  return files.map(entry => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort();
}
