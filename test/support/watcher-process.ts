// The process of a Watcher.
import fs from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../../src/errors.ts';
import { stampedVersion } from './stamped-files.ts';
import type { Watched, WatchOptions } from './watcher.ts';

const options = JSON.parse(process.argv[2] ?? '') as WatchOptions; // From watcher.ts.
const { root, folder, names, links } = options;
const namePattern = new RegExp(options.namePattern, 's');
const versions = new Map<string, number>();
const counts = new Map<string, number>();
const violations: string[] = [];
let readCount = 0;
let listedCount = 0;
let changeCount = 0;

function violation(kind: string, text: string): void {
  const count = (counts.get(kind) ?? 0) + 1;
  counts.set(kind, count);
  if (count <= 20) violations.push(`${kind}: ${text} at ${new Date().toISOString()}`);
}

function readFile(name: string): void {
  let content: Buffer;
  try {
    content = fs.readFileSync(join(root, folder, name));
  } catch (error) {
    const code = systemCode(error);
    // Modes are replicated; a file its owner may not read is not missing.
    if (code !== 'EACCES') violation('gap', `${name} ${code}`);
    return;
  }
  const version = stampedVersion(name, content);
  readCount++;
  if (version === undefined) {
    const head = JSON.stringify(content.subarray(0, 100).toString('latin1'));
    violation('torn', `${name}, ${content.length} bytes, ${head}`);
  } else note(name, version);
}

function readLink(name: string): void {
  try {
    const target = fs.readlinkSync(join(root, folder, name));
    const version = /^version-(\d+)$/.exec(target)?.[1];
    if (version === undefined) violation('torn', `${name} -> ${target}`);
    else note(name, Number(version));
  } catch (error) {
    violation('gap', `${name} ${systemCode(error)}`);
  }
}

function note(name: string, version: number): void {
  const previous = versions.get(name) ?? -1;
  if (version < previous) violation('old', `${name} went from version ${previous} to ${version}`);
  if (version > previous) changeCount++;
  versions.set(name, version);
}

/** Every name in the tree; folders may come and go meanwhile. */
function listNames(): void {
  const folders = [Buffer.from(root)];
  for (let i = 0; i < folders.length && i < 10_000; i++) {
    const path = folders[i] ?? Buffer.alloc(0);
    let entries: fs.Dirent[];
    try {
      entries = fs.readdirSync(path, { withFileTypes: true, encoding: 'latin1' });
    } catch {
      continue;
    }
    for (const entry of entries) {
      if (i === 0 && entry.name === '.replica') continue;
      listedCount++;
      if (!namePattern.test(entry.name)) violation('name', JSON.stringify(entry.name));
      if (!entry.isDirectory()) continue;
      folders.push(Buffer.concat([path, Buffer.from('/'), Buffer.from(entry.name, 'latin1')]));
    }
  }
}

/** A gap lasts microseconds: nothing but looking, for a while. */
function lookHard(): void {
  const untilMs = performance.now() + 4;
  const paths = [...names, ...links].map(name => join(root, folder, name));
  while (performance.now() < untilMs) {
    for (const path of paths) {
      if (fs.lstatSync(path, { throwIfNoEntry: false }) === undefined) violation('gap', path);
    }
  }
}

let rounds = 0;

function round(): void {
  lookHard();
  if (rounds++ % 10 > 0) {
    setTimeout(round, 3);
    return;
  }
  for (const name of names) readFile(name);
  for (const link of links) readLink(link);
  listNames();
  // A breath for the others: cores are few.
  setTimeout(round, 3);
}

process.on('message', () => {
  const watched: Watched = { violations, readCount, listedCount, changeCount };
  process.send?.(watched, () => process.exit(0));
});
process.on('disconnect', () => process.exit(1));
round();
process.send?.('ready');
