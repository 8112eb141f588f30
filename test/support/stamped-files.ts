// Files that say themselves whether they are whole: which file, which version, and a hash of it all.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { pick, randomBytes, randomInteger } from './random.ts';

/** `name version hash` in a line, then noise. Two versions share most of their noise. */
export function stampedContent(name: string, version: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${name} ${version} ${hashOf(name, version, body)}\n`), body]);
}

/** The version; undefined if it is not, to the last byte, a content that was ever made. */
export function stampedVersion(name: string, content: Buffer): number | undefined {
  const end = content.indexOf('\n');
  const [found, text, hash] = content.subarray(0, Math.max(end, 0)).toString().split(' ');
  const version = Number(text);
  if (end < 0 || found !== name || !Number.isInteger(version)) return undefined;
  return hashOf(name, version, content.subarray(end + 1)) === hash ? version : undefined;
}

function hashOf(name: string, version: number, body: Buffer): string {
  return createHash('sha256').update(`${name} ${version}\n`).update(body).digest('hex');
}

/** Files that are always there, replaced at once by rename, and links likewise. */
export class StampedFiles {
  readonly root: string;
  readonly names: readonly string[];
  readonly links: readonly string[];
  readonly #bodies = new Map<string, Buffer>();
  #version = 0;

  constructor(root: string) {
    this.root = root;
    this.names = ['s1', 's2', 'sub/s3', 'sub/deep/s4', 'sub/deep/s5', 'large/s6'];
    this.links = ['l1', 'sub/l2'];
    for (const name of [...this.names, ...this.links]) {
      fs.mkdirSync(dirname(join(root, name)), { recursive: true });
    }
  }

  /** Everything once. */
  fill(random: () => number): void {
    for (const name of this.names) this.#replace(name, random);
    for (const link of this.links) this.#relink(link);
  }

  /** One of: a new version of a file or a link, new attributes, or names beside it. */
  change(random: () => number): void {
    const name = pick(random, this.names);
    switch (randomInteger(random, 8)) {
      case 0:
        this.#relink(pick(random, this.links));
        break;
      case 1:
        fs.chmodSync(join(this.root, name), pick(random, [0o644, 0o600, 0o755]));
        break;
      case 2:
        fs.utimesSync(join(this.root, name), 1e9, randomInteger(random, 2e9));
        break;
      case 3:
        this.#linkBeside(name);
        break;
      default:
        this.#replace(name, random);
    }
  }

  #replace(name: string, random: () => number): void {
    const isLarge = name.startsWith('large');
    const size = isLarge ? 5_000_000 : 1 + randomInteger(random, 300_000);
    let body = this.#bodies.get(name);
    if (body === undefined || random() < 0.3) {
      body = randomBytes(random, isLarge ? size : Math.max(size, 1000));
    } else {
      const at = randomInteger(random, body.length);
      const fresh = randomBytes(random, 100);
      body = Buffer.concat([
        body.subarray(0, at),
        fresh,
        body.subarray(at + randomInteger(random, 150)),
      ]);
    }
    this.#bodies.set(name, body);
    const temporary = join(this.root, '.swap~');
    fs.writeFileSync(temporary, stampedContent(name, ++this.#version, body));
    fs.renameSync(temporary, join(this.root, name));
  }

  #relink(name: string): void {
    const temporary = join(this.root, '.swap~');
    fs.symlinkSync(`version-${++this.#version}`, temporary);
    fs.renameSync(temporary, join(this.root, name));
  }

  /** A second name that comes and goes: the file itself stays where it is. */
  #linkBeside(name: string): void {
    const beside = join(this.root, `${name}.beside`);
    if (fs.existsSync(beside)) fs.unlinkSync(beside);
    else fs.linkSync(join(this.root, name), beside);
  }
}
