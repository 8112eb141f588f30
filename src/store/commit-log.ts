// What was done when: a line of JSON for each commit, for `replica log`. For people, and never a
// source of truth: it is written without a flush, may lack its end after a power loss, and loses
// its oldest part as it grows. Lines, not a table: a second program reads them while this one writes.
import fs from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { commitLogFileSizeMax, commitLogLineSizeMax } from '../limits.ts';

export interface LoggedOperation {
  readonly kind: 'file' | 'directory' | 'link' | 'hardlink' | 'rename' | 'remove' | 'attributes';
  /** Below the root, latin1; '' is the root itself. */
  readonly path: string;
  /** Of a rename: the path before. */
  readonly from?: string | undefined;
  /** Of a file's content. */
  readonly size?: number | undefined;
}

export interface LoggedCommit {
  /** Numbers begin anew when the state was lost: then this is another one. */
  readonly epoch: string;
  readonly commit: number;
  /** Since 1970. */
  readonly timeMs: number;
  readonly operations: readonly LoggedOperation[];
  /** Operations that are left out, as the line would have become too long. */
  readonly more: number;
}

const fileName = 'commits.jsonl';
const olderName = 'commits.older.jsonl';

/** Of one receiver, which alone writes. The file is opened by the first commit. */
export class CommitLog {
  readonly #folder: string;
  #fd: number | undefined;
  #size = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Throws the system's error; then what was begun is skipped by readers, and the next is whole. */
  append(commits: readonly LoggedCommit[]): void {
    const text = commits.map(encodeCommit).join('');
    const fd = this.#open();
    // Each begins a line of its own, whatever the one before left.
    const bytes = Buffer.from(text, 'utf8');
    this.#size += bytes.length;
    for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done);
  }

  close(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): number {
    const path = join(this.#folder, fileName);
    if (this.#fd !== undefined && this.#size >= commitLogFileSizeMax) {
      this.close();
      fs.renameSync(path, join(this.#folder, olderName));
    }
    if (this.#fd === undefined) {
      const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW } = fs.constants;
      this.#fd = fs.openSync(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW, 0o600);
      this.#size = fs.fstatSync(this.#fd).size;
    }
    return this.#fd;
  }
}

/** Everything that is left of it, oldest first; nothing where there is none. Throws system errors. */
export function readCommitLog(folder: string): LoggedCommit[] {
  // The newer first: moved aside meanwhile, it is read twice and nothing is missed.
  const newer = readLines(join(folder, fileName));
  const older = readLines(join(folder, olderName));
  const commits = new Map<string, LoggedCommit>();
  for (const line of [...older, ...newer]) {
    const commit = decodeCommit(line);
    if (commit === undefined) continue;
    // Finished after a crash, it was written once more.
    const key = `${commit.epoch} ${commit.commit}`;
    commits.delete(key);
    commits.set(key, commit);
  }
  return [...commits.values()];
}

function readLines(path: string): string[] {
  try {
    return fs.readFileSync(path, 'utf8').split('\n');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

type Row = readonly [LoggedOperation['kind'], string, (number | string)?];

function encodeCommit({ epoch, commit, timeMs, operations, more }: LoggedCommit): string {
  const rows: Row[] = [];
  let size = 0;
  for (const { kind, path, from, size: bytes } of operations) {
    size += path.length + (from?.length ?? 0) + rowSize;
    if (size > commitLogLineSizeMax) break;
    const last = from ?? bytes;
    rows.push(last === undefined ? [kind, path] : [kind, path, last]);
  }
  const left = more + operations.length - rows.length;
  return `\n${JSON.stringify({ epoch, commit, timeMs, more: left, rows })}`;
}

/** What a row takes besides its paths. */
const rowSize = 32;

/** undefined for what is no line of ours, or was cut short. */
function decodeCommit(line: string): LoggedCommit | undefined {
  if (line === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { epoch, commit, timeMs, more, rows } = value as Record<string, unknown>; // Checked below.
  if (typeof epoch !== 'string' || !isCount(commit) || !isCount(timeMs) || !isCount(more)) {
    return undefined;
  }
  if (!Array.isArray(rows)) return undefined;
  const operations = rows.flatMap((row: unknown) => decodeRow(row) ?? []);
  return { epoch, commit, timeMs, operations, more: more + rows.length - operations.length };
}

const kinds: ReadonlySet<unknown> = new Set<LoggedOperation['kind']>([
  ...(['file', 'directory', 'link', 'hardlink'] as const),
  ...(['rename', 'remove', 'attributes'] as const),
]);

function decodeRow(row: unknown): LoggedOperation | undefined {
  if (!Array.isArray(row)) return undefined;
  const [name, path, last]: unknown[] = row;
  if (!kinds.has(name) || typeof path !== 'string') return undefined;
  const kind = name as LoggedOperation['kind']; // It is one of them.
  if (typeof last === 'string') return { kind, path, from: last };
  return isCount(last) ? { kind, path, size: last } : { kind, path };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
