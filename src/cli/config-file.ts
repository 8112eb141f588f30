// The config file: settings for all commands, for one command, and the folders of `replica up`.
//
//   { "interval": "1s", "push": { "max-delete": "10%" },
//     "folders": [{ "source": "/home/me/project", "target": "backup.example.org", "exclude": ["*.o"] }] }
import { readFileSync, realpathSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { type ReplicaError, systemCode } from '../errors.ts';
import { whileLocked, writePrivateFile } from '../store/private-file.ts';
import { realPathOf } from '../store/real-path.ts';
import { usage } from './setting.ts';
import { parseTarget } from './target.ts';
import { targetName } from './target-name.ts';

export type Raw = string | boolean | number | readonly string[];

/** A source and where it goes. */
export interface TreePair {
  readonly source: string;
  readonly target: string;
}

export interface ConfigFolder extends TreePair {
  /** Its own settings, by flag. */
  readonly values: ReadonlyMap<string, Raw>;
  /** 'folders[0]' */
  readonly place: string;
}

export interface Config {
  readonly top: ReadonlyMap<string, Raw>;
  /** By command word. */
  readonly sections: ReadonlyMap<string, ReadonlyMap<string, Raw>>;
  readonly folders: readonly ConfigFolder[];
}

export interface ConfigOptions {
  readonly configFile: string;
  readonly allFlags: ReadonlySet<string>;
  /** Command words. */
  readonly sections: readonly string[];
  /** What '~' means in it. */
  readonly home?: string | undefined;
}

const nothing: Config = { top: new Map(), sections: new Map(), folders: [] };

/** Empty where there is no file. Throws ERR_USAGE for what cannot be understood. */
export function readConfig(options: ConfigOptions): Config {
  const { configFile, allFlags } = options;
  const file = readConfigObject(configFile);
  if (file === undefined) return nothing;
  const top = new Map<string, Raw>();
  const sections = new Map<string, ReadonlyMap<string, Raw>>();
  for (const [key, value] of Object.entries(file)) {
    if (key === foldersKey) continue;
    if (options.sections.includes(key) && isRecord(value)) {
      sections.set(key, readValues(value, { configFile, allFlags, place: key }));
    } else top.set(key, readValue(value, { configFile, allFlags, place: key, flag: key }));
  }
  return { top, sections, folders: readFolders(file[foldersKey], options) };
}

const foldersKey = 'folders';
const fileWord = 'the config file';

/** The file as it stands; undefined where there is none. */
function readConfigObject(path: string): Record<string, unknown> | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw usage('config file', `cannot read ${path} (${code ?? 'unknown error'})`);
  }
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (error) {
    throw usage(path, `not valid JSON (${error instanceof Error ? error.message : 'unreadable'})`);
  }
  if (!isRecord(config)) throw usage(path, 'expected a JSON object');
  return config;
}

interface Place {
  readonly configFile: string;
  readonly allFlags: ReadonlySet<string>;
  readonly place: string;
}

function readValues(values: Record<string, unknown>, at: Place): ReadonlyMap<string, Raw> {
  return new Map(
    Object.entries(values).map(([flag, value]) => {
      return [flag, readValue(value, { ...at, place: `${at.place}.${flag}`, flag })] as const;
    }),
  );
}

function readValue(value: unknown, at: Place & { readonly flag: string }): Raw {
  const { configFile, place } = at;
  if (!at.allFlags.has(at.flag)) throw usage(configFile, `there is no setting '${place}'`);
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number') {
    return value;
  }
  if (Array.isArray(value) && value.every(item => typeof item === 'string')) return value;
  throw usage(configFile, `'${place}' must be a text, a number, true, false or a list of texts`);
}

function readFolders(value: unknown, options: ConfigOptions): readonly ConfigFolder[] {
  const { configFile, allFlags, home = '/' } = options;
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw usage(configFile, `'${foldersKey}' must be a list`);
  const seen = new Set<string>();
  return value.map((entry: unknown, i) => {
    const place = `${foldersKey}[${i}]`;
    const fail = (text: string): ReplicaError => usage(configFile, `'${place}' ${text}`);
    if (!isRecord(entry)) throw fail('must be an object with source and target');
    const { source, target, ...rest } = entry;
    if (typeof source !== 'string' || typeof target !== 'string') {
      throw fail('needs a source and a target');
    }
    const pair = { source: expand(source, home), target: expand(target, home) };
    if (!isAbsolute(pair.source)) throw fail(`has the source '${source}': give a whole path`);
    if (!isWhole(pair.target, fail)) throw fail(`has the target '${target}': give a whole path`);
    const key = pairKey(pair, '/');
    if (seen.has(key)) throw fail('has the source and target of another folder');
    seen.add(key);
    return { ...pair, place, values: readValues(rest, { configFile, allFlags, place }) };
  });
}

function expand(path: string, home: string): string {
  return path === '~' || path.startsWith('~/') ? join(home, path.slice(1)) : path;
}

/** A host, ssh://, or a folder by its whole path. */
function isWhole(target: string, fail: (text: string) => ReplicaError): boolean {
  try {
    const parsed = parseTarget(target);
    return parsed.kind !== 'path' || isAbsolute(parsed.path);
  } catch (error) {
    throw fail(error instanceof Error ? error.message : 'has no usable target');
  }
}

/** The same for the same two trees, however they are written. Throws ERR_USAGE. */
export function pairKey({ source, target }: TreePair, cwd: string): string {
  const parsed = parseTarget(target);
  const isHost = parsed.kind === 'host';
  const named = isHost ? { ...parsed, host: parsed.host.toLowerCase() } : parsed;
  return `${realPathOf(resolve(cwd, source))}\0${targetName(named, cwd)}`;
}

/**
 * Appends a folder; everything else in the file stays as it is. The file is replaced as a whole, with
 * mode 0600. Throws ERR_USAGE when the folder is there already.
 */
export function appendFolder(
  pair: TreePair & { readonly values: Readonly<Record<string, Raw>> },
  options: ConfigOptions,
): void {
  whileLocked(linkedFile(options.configFile), fileWord, () => append(pair, options));
}

function append(
  pair: TreePair & { readonly values: Readonly<Record<string, Raw>> },
  options: ConfigOptions,
): void {
  const { source, target, values } = pair;
  const key = pairKey(pair, '/');
  const there = readConfig(options).folders.find(one => pairKey(one, '/') === key);
  if (there !== undefined) {
    throw usage(
      options.configFile,
      `'${there.place}' replicates ${source} to ${target} already; edit it there`,
    );
  }
  rewriteFolders(options.configFile, before => [...before, { source, target, ...values }]);
}

/**
 * Removes the folder of that source and target; of one source with one target that need not be
 * given. Returns what it was. Throws ERR_USAGE when there is none, or several.
 */
export function removeFolder(
  meant: { readonly source: string; readonly target: string | undefined },
  options: ConfigOptions & { readonly cwd: string },
): TreePair {
  return whileLocked(linkedFile(options.configFile), fileWord, () => remove(meant, options));
}

function remove(
  { source, target }: { readonly source: string; readonly target: string | undefined },
  options: ConfigOptions & { readonly cwd: string },
): TreePair {
  const { configFile, cwd } = options;
  const { folders } = readConfig(options);
  const name = ({ source, target }: TreePair): string => `${source} to ${target}`;
  const isMeant = (folder: TreePair): boolean => {
    const meant = { source, target: target ?? folder.target };
    return pairKey(folder, '/') === pairKey(meant, cwd);
  };
  const found = folders.filter(isMeant);
  const [first] = found;
  if (first === undefined) {
    const path = resolve(cwd, source);
    const what = target === undefined ? path : name({ source: path, target });
    const others = folders.length === 0 ? 'no folders' : folders.map(name).join(', ');
    throw usage(configFile, `it does not have ${what}; it has ${others}`);
  }
  if (found.length > 1) {
    throw usage(configFile, `it has ${found.map(name).join(' and ')}: say which target`);
  }
  const index = folders.indexOf(first);
  rewriteFolders(configFile, before => before.filter((_, i) => i !== index));
  return first;
}

function rewriteFolders(
  configFile: string,
  change: (folders: readonly unknown[]) => readonly unknown[],
): void {
  const file = readConfigObject(configFile) ?? {};
  const before = Array.isArray(file[foldersKey]) ? file[foldersKey] : [];
  const after = { ...file, [foldersKey]: change(before) };
  writePrivateFile(linkedFile(configFile), `${JSON.stringify(after, null, 2)}\n`, {
    what: fileWord,
  });
}

/** A link to the file, as some keep their settings, stays one. */
function linkedFile(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return path;
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
