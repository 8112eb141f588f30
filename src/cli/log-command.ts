// `replica log`: what a receiver did when, from the notes beside its state. Whether it runs or not.
import { statSync } from 'node:fs';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { Command, Option } from 'clipanion';
import { ReplicaError, systemCode } from '../errors.ts';
import { fromUserPath, printable } from '../snapshot/name.ts';
import { type LoggedCommit, type LoggedOperation, readCommitLog } from '../store/commit-log.ts';
import { realPathOf } from '../store/real-path.ts';
import { stateFolderFor } from '../store/state-folder.ts';
import { count, formatBytes } from './counted.ts';
import { ExitCode } from './exit-code.ts';
import { formatTime } from './local-time.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';

const sinceBounds = { fallback: '3650d', min: 0, max: 3650 * 86_400_000 };

export class LogCommand extends ReplicaCommand {
  static override paths = [['log']];
  static override usage = Command.Usage({
    description: 'Show what was done at the replica in <dst>, and when',
    examples: [
      ['Everything that is remembered', '$0 log /srv/copy'],
      ['What became of a file, or in a folder', '$0 log /srv/copy docs/plan.txt'],
      ['Deleted today', "$0 log /srv/copy --since 24h | grep ' remove '"],
    ],
  });
  static override notes = [
    "On the machine that holds the replica, whether 'replica receive' runs there or not. [path] is below <dst>; it may be gone.",
    'A line for each operation, oldest first: time, number of the commit, what, path. The newest 16 MiB are remembered, some 200,000 operations. After a power loss the newest commits may be missing here.',
  ];

  destination = Option.String({ name: 'dst' });
  subject = Option.String({ name: 'path', required: false });
  since = Option.String('--since', {
    description: '<TIME> Only what was done in the last 10m, 24h, 7d',
  });
  state = Option.String('--state', { description: '<DIR> As for the receiver' });
  json = Option.Boolean('--json', { description: 'A JSON line for each operation' });

  protected override async perform({ settings }: Surroundings): Promise<ExitCode> {
    const { cwd, stdout } = this.context;
    const root = resolve(cwd, this.destination);
    const stateBase = settings.text('state', this.state)?.value;
    const sinceMs = Date.now() - settings.duration('since', this.since, sinceBounds);
    const subject = this.subject === undefined ? '' : this.#below(root, this.subject);
    const folder = stateFolder(root, stateBase === undefined ? undefined : resolve(cwd, stateBase));
    const commits = read(folder, root).filter(({ timeMs }) => timeMs >= sinceMs);
    for (const commit of commits) {
      const lines = [...linesOf(commit, subject, this.json === true)];
      if (lines.length > 0) stdout.write(`${lines.join('\n')}\n`);
    }
    return ExitCode.Done;
  }

  /** 'docs/plan.txt' of that, './docs/plan.txt/' or a path that leads below `root`. Latin1. */
  #below(root: string, path: string): string {
    const parent = resolve(this.context.cwd, path);
    const way = isAbsolute(path) ? relative(realPathOf(root), realPathOf(parent)) : path;
    const parts = way.split(sep).filter(part => part !== '' && part !== '.');
    if (parts.includes('..')) {
      throw new ReplicaError('ERR_USAGE', `'${path}' is not below ${root}: give a path in it`);
    }
    return fromUserPath(parts.join('/'));
  }
}

/** Throws ERR_PATH where no receiver has ever kept one. */
function stateFolder(root: string, stateBase: string | undefined): string {
  try {
    const own = join(root, '.replica');
    const folder = stateBase === undefined ? join(own, 'state') : stateFolderFor(root, stateBase);
    for (const path of [own, folder]) statSync(path);
    return folder;
  } catch (error) {
    throw unusable(root, error);
  }
}

function read(folder: string, root: string): readonly LoggedCommit[] {
  try {
    return readCommitLog(folder);
  } catch (error) {
    throw unusable(root, error);
  }
}

function unusable(root: string, error: unknown): ReplicaError {
  const code = systemCode(error);
  if (code === undefined) throw error;
  const isAbsent = code === 'ENOENT' || code === 'ENOTDIR';
  const message = isAbsent
    ? `there is no replica at ${root}, or its state is elsewhere: give the receiver's --state`
    : `cannot read the state of the replica at ${root} (${code}): ask as the receiver's user`;
  return new ReplicaError('ERR_PATH', message, { cause: error });
}

function* linesOf(commit: LoggedCommit, subject: string, isJson: boolean): Generator<string> {
  const time = isJson ? new Date(commit.timeMs).toISOString() : formatTime(commit.timeMs);
  for (const operation of commit.operations) {
    if (!concerns(operation, subject)) continue;
    yield isJson
      ? JSON.stringify({ time, commit: commit.commit, ...fieldsOf(operation) })
      : `${time} ${commit.commit} ${describe(operation)}`;
  }
  if (commit.more === 0 || subject !== '') return;
  yield isJson
    ? JSON.stringify({ time, commit: commit.commit, more: commit.more })
    : `${time} ${commit.commit} and ${count(commit.more, 'more operation')}`;
}

/** It is the path, lies below it, or was the rename of a directory above it. */
function concerns({ path, from }: LoggedOperation, subject: string): boolean {
  if (subject === '') return true;
  return [path, from ?? path].some(
    one =>
      one === subject ||
      one.startsWith(`${subject}/`) ||
      (from !== undefined && subject.startsWith(`${one}/`)),
  );
}

function describe({ kind, path, from, size }: LoggedOperation): string {
  const name = path === '' ? '.' : printable(path);
  if (from !== undefined) return `${kind} ${printable(from)} -> ${name}`;
  return size === undefined ? `${kind} ${name}` : `${kind} ${name} (${formatBytes(size)})`;
}

function fieldsOf({ kind, path, from, size }: LoggedOperation): object {
  return {
    kind,
    path: path === '' ? '.' : printable(path),
    ...(from === undefined ? {} : { from: printable(from) }),
    ...(size === undefined ? {} : { size }),
  };
}
