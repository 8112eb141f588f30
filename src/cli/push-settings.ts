// What `replica push` was asked for, checked. Nothing here touches the source or the network.
import { readFileSync } from 'node:fs';
import { relative, resolve, sep } from 'node:path';
import { ReplicaError, systemCode } from '../errors.ts';
import { scanJobsMax } from '../limits.ts';
import type { SenderOptions } from '../sender/sender-options.ts';
import { type ModeChange, parseModeChanges } from '../snapshot/mode-change.ts';
import { isInside } from './checks.ts';
import { type Setting, type Settings, usage } from './settings.ts';
import { readSettle } from './settle.ts';
import { readSize } from './size.ts';

const intervalBounds = { fallback: '500ms', min: 10, max: 86_400_000 };
export const timeoutBounds = { fallback: '30s', min: 100, max: 86_400_000 };

export type PushSettings = Pick<
  SenderOptions,
  | 'intervalMs'
  | 'once'
  | 'dryRun'
  | 'paths'
  | 'exclude'
  | 'deleteExcluded'
  | 'delete'
  | 'maxDelete'
  | 'acceptDeletes'
  | 'checksum'
  | 'scanJobs'
  | 'maxSize'
  | 'oneFileSystem'
  | 'attributes'
  | 'numericIds'
  | 'settle'
  | 'optimize'
  | 'cpuShare'
  | 'timeoutMs'
  | 'takeOver'
>;

export interface GivenPushFlags {
  readonly interval: string | undefined;
  readonly once: boolean | undefined;
  readonly dryRun: boolean | undefined;
  readonly subPaths: readonly string[] | undefined;
  readonly exclude: readonly string[] | undefined;
  readonly excludeFrom: readonly string[] | undefined;
  readonly deleteExcluded: boolean | undefined;
  readonly maxSize: string | undefined;
  readonly oneFileSystem: boolean | undefined;
  readonly chmod: string | undefined;
  readonly owner: boolean | undefined;
  readonly group: boolean | undefined;
  readonly xattrs: boolean | undefined;
  readonly numericIds: boolean | undefined;
  readonly settle: readonly string[] | undefined;
  readonly noDelete: boolean | undefined;
  readonly maxDelete: string | undefined;
  readonly acceptDeletes: boolean | undefined;
  readonly checksum: boolean | undefined;
  readonly scanJobs: string | undefined;
  readonly optimize: string | undefined;
  readonly cpuLimit: string | undefined;
  readonly timeout: string | undefined;
  readonly takeOver: boolean | undefined;
  readonly adopt: boolean | undefined;
}

/** Which part of the source counts, and how long to try to reach the receiver. */
export type Selection = Pick<
  SenderOptions,
  'paths' | 'exclude' | 'deleteExcluded' | 'maxSize' | 'oneFileSystem' | 'attributes' | 'timeoutMs'
>;

export type GivenSelectionFlags = Pick<
  GivenPushFlags,
  | 'subPaths'
  | 'exclude'
  | 'excludeFrom'
  | 'deleteExcluded'
  | 'maxSize'
  | 'oneFileSystem'
  | 'chmod'
  | 'owner'
  | 'group'
  | 'xattrs'
  | 'timeout'
>;

export function readSelection(
  settings: Settings,
  given: GivenSelectionFlags,
  cwd: string,
): Selection {
  const maxSize = settings.text('max-size', given.maxSize);
  return {
    paths: settings.list('path', given.subPaths).map(subPath),
    // The last pattern that matches decides: what the command line says beats the files.
    exclude: [
      ...settings.list('exclude-from', given.excludeFrom).flatMap(file => readRules(file, cwd)),
      ...settings.list('exclude', given.exclude),
    ],
    deleteExcluded: settings.switch('delete-excluded', given.deleteExcluded),
    maxSize: maxSize && readSize(maxSize),
    oneFileSystem: settings.switch('one-file-system', given.oneFileSystem),
    attributes: {
      chmod: readChmod(settings.text('chmod', given.chmod)),
      owner: settings.switch('owner', given.owner),
      group: settings.switch('group', given.group),
      xattrs: settings.switch('xattrs', given.xattrs),
    },
    timeoutMs: settings.duration('timeout', given.timeout, timeoutBounds),
  };
}

/** rsync's --chmod. */
function readChmod(setting: Setting<string> | undefined): readonly ModeChange[] {
  const changes = setting === undefined ? [] : parseModeChanges(setting.value);
  if (changes !== undefined) return changes;
  throw usage(
    setting?.origin ?? '--chmod',
    `'${setting?.value}' is no change of modes such as D755,F644 or go-w`,
  );
}

/** Throws ERR_USAGE for a value that makes no sense, ERR_PATH for a file that is not there. */
export function readPushSettings(
  settings: Settings,
  given: GivenPushFlags,
  cwd: string,
): PushSettings {
  const dryRun = settings.switch('dry-run', given.dryRun);
  const deletes = !settings.switch('no-delete', given.noDelete);
  const selection = readSelection(settings, given, cwd);
  for (const flag of ['take-over', 'adopt'] as const) {
    if (!dryRun || !settings.switch(flag, flag === 'adopt' ? given.adopt : given.takeOver))
      continue;
    throw usage(`--${flag}`, 'changes what the replica is; not with --dry-run');
  }
  if (selection.deleteExcluded && !deletes) {
    throw usage('--delete-excluded', 'contradicts --no-delete; give one of them');
  }
  return {
    ...selection,
    intervalMs: settings.duration('interval', given.interval, intervalBounds),
    // A dry run changes nothing, so there is nothing to wait for; parts are for one pass.
    once: settings.switch('once', given.once) || dryRun || selection.paths.length > 0,
    dryRun,
    delete: deletes,
    maxDelete: readMaxDelete(settings.text('max-delete', given.maxDelete)),
    acceptDeletes: settings.switch('accept-deletes', given.acceptDeletes),
    checksum: settings.switch('checksum', given.checksum),
    scanJobs: readScanJobs(settings.text('scan-jobs', given.scanJobs)),
    numericIds: settings.switch('numeric-ids', given.numericIds),
    settle: readSettle(settings.list('settle', given.settle)),
    optimize: settings.choice('optimize', given.optimize, ['auto', 'bytes', 'time'] as const),
    cpuShare: readCpuLimit(settings.text('cpu-limit', given.cpuLimit)),
    takeOver: settings.switch('take-over', given.takeOver),
  };
}

/** `N` entries or `P%` of them. */
function readMaxDelete(setting: Setting<string> | undefined): SenderOptions['maxDelete'] {
  if (setting === undefined) return { kind: 'percent', value: 50 };
  const match = /^(\d{1,15})(%?)$/.exec(setting.value.trim());
  const value = Number(match?.[1]);
  if (!match || (match[2] === '%' && value > 100)) {
    throw usage(setting.origin, `'${setting.value}' is neither a count nor a share up to 100%`);
  }
  return { kind: match[2] === '%' ? 'percent' : 'count', value };
}

/** `P%` of one core, as a fraction; beyond 100% for who wants it. */
export function readCpuLimit(setting: Setting<string> | undefined): number {
  if (setting === undefined) return 0.1;
  const match = /^(\d{1,4}(?:\.\d{1,3})?)%?$/.exec(setting.value.trim());
  const percent = Number(match?.[1]);
  if (!match || percent < 0.1 || percent > 1000) {
    throw usage(setting.origin, `'${setting.value}' is no share of a core, such as 10%`);
  }
  return percent / 100;
}

/** A number of threads, or 'auto'. */
function readScanJobs(setting: Setting<string> | undefined): SenderOptions['scanJobs'] {
  if (setting === undefined || setting.value === 'auto') return 'auto';
  const jobs = /^\d{1,3}$/.test(setting.value) ? Number(setting.value) : 0;
  if (jobs >= 1 && jobs <= scanJobsMax) return jobs;
  throw usage(
    setting.origin,
    `'${setting.value}' is neither 'auto' nor a number from 1 to ${scanJobsMax}`,
  );
}

/**
 * Rules that keep our own state and log out of the replica where they lie in the source, as they
 * do when a home directory is replicated: each commit would otherwise cause the next.
 */
export function ownFilesExclusions(source: string, files: readonly string[]): string[] {
  return files
    .filter(file => isInside(file, source))
    .map(file => `/${escapePattern(relative(source, file).split(sep).join('/'))}`);
}

/** A path as a gitignore pattern that matches just it (gitignore(5), fnmatch(3)). */
function escapePattern(path: string): string {
  return path
    .replace(/[\\*?[\]!#]/g, char => `\\${char}`)
    .replace(/ +$/, end => end.replaceAll(' ', '\\ '));
}

/** A part of the source, without leading './' and trailing slashes. */
function subPath(text: string): string {
  const parts = text.split('/').filter(part => part !== '' && part !== '.');
  if (text.startsWith('/') || parts.includes('..') || text.includes('\0')) {
    throw usage('--path', `'${text}' must be a path below the source, such as docs/api`);
  }
  return parts.join('/');
}

function readRules(file: string, cwd: string): string[] {
  const path = resolve(cwd, file);
  try {
    return readFileSync(path, 'utf8')
      .split(/\r?\n/)
      .filter(line => line !== '');
  } catch (error) {
    const code = systemCode(error) ?? 'unknown error';
    throw new ReplicaError('ERR_PATH', `cannot read --exclude-from ${path} (${code})`, {
      cause: error,
    });
  }
}
