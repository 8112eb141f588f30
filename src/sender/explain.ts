// Why one path of the source is, or is not, at the replica. For people; changes nothing.
import { systemCode } from '../errors.ts';
import { sameSeen } from '../snapshot/diff.ts';
import { rootId } from '../snapshot/entry.ts';
import type { IgnoreRules } from '../snapshot/ignore.ts';
import type { Known } from '../snapshot/listing.ts';
import { isName, type Name, printable } from '../snapshot/name.ts';
import { below, kindOf, seenOfStats } from '../tree/source-listing.ts';
import { clockMs } from './clock.ts';
import type { Deletes } from './deletes.ts';
import { isInScope } from './scan-options.ts';
import type { Folder, ScanState } from './scan-state.ts';
import type { Since } from './sync-times.ts';
import { isTooLarge, reservedName, type Visibility } from './visibility.ts';

export interface Explanation {
  readonly state:
    | 'in sync'
    /** Found, and on its way. */
    | 'under way'
    /** Tried before, and to be tried again: it was being written, or could not be read. */
    | 'put off'
    /** The next look at it will find that it changed. */
    | 'not seen yet'
    /** Gone at the source; the delete is held, or was rejected. */
    | 'held'
    | 'rejected'
    /** Gone at the source; the delete follows when all directories were looked at. */
    | 'going'
    | 'ignored'
    /** A socket, pipe or device; a reserved name; outside --path; beyond --max-size; below a mount with -x. */
    | 'skipped'
    | 'unreadable'
    /** Neither at the source nor at the replica. */
    | 'absent';
  readonly detail: string;
  /** Of what is in sync. */
  readonly since?: Since | undefined;
}

const absent: Explanation = {
  state: 'absent',
  detail: 'it is neither at the source nor at the replica',
};

export class Explainer {
  readonly #state: ScanState;
  readonly #visibility: Visibility;
  readonly #deletes: Deletes;

  constructor(state: ScanState, visibility: Visibility, deletes: Deletes) {
    this.#state = state;
    this.#visibility = visibility;
    this.#deletes = deletes;
  }

  /** `path`: below the root, latin1; `rules`: in force everywhere. */
  explain(path: string, rules: IgnoreRules): Explanation {
    const parts = path.split('/').filter(part => part !== '' && part !== '.');
    try {
      const root = this.#state.source.stat('');
      if (root === undefined) return { state: 'absent', detail: 'the source itself is not there' };
      let folder: Folder = { id: rootId, path: '', rules, depth: 0, device: root.dev };
      const { oneFileSystem } = this.#state.options;
      for (const [i, part] of parts.entries()) {
        if (!isName(part)) return { state: 'absent', detail: 'no name can be like that' };
        const here = { ...folder, rules: this.#visibility.rulesAt(folder) };
        const hidden = this.#hidden(here, part);
        const isLast = i === parts.length - 1;
        if (hidden !== undefined) return isLast ? hidden : above(part, hidden);
        const known = this.#state.observed.find(folder.id, part);
        if (!isLast && known?.entry.kind === 'directory') {
          const path = below(folder.path, part);
          if (oneFileSystem === true && this.#state.source.stat(path)?.dev !== root.dev) {
            const detail = 'another file system is mounted there, and -x was given';
            return above(part, { state: 'skipped', detail });
          }
          folder = { ...here, id: known.entry.id, path, depth: i + 1 };
          continue;
        }
        const verdict = this.#judge(here, part);
        if (isLast) return verdict;
        return verdict.state === 'in sync' ? absent : above(part, verdict);
      }
      return { state: 'in sync', detail: 'the root of the source' };
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      return { state: 'unreadable', detail: `it cannot be looked at (${code})` };
    }
  }

  /** Does it not count? */
  #hidden(folder: Folder, name: Name): Explanation | undefined {
    const path = below(folder.path, name);
    if (folder.path === '' && name === reservedName) {
      return { state: 'skipped', detail: "the name is replica's own" };
    }
    if (!isInScope(path, this.#state.options.scope)) {
      return { state: 'skipped', detail: 'it is outside --path' };
    }
    const stats = this.#state.source.stat(path);
    const isDirectory = stats !== undefined && kindOf(stats) === 'directory';
    const rule = folder.rules.ruleFor(path, isDirectory);
    if (rule === undefined) return undefined;
    return { state: 'ignored', detail: `by the rule '${rule.pattern}' of ${rule.origin}` };
  }

  #judge(folder: Folder, name: Name): Explanation {
    const { source, observed } = this.#state;
    const known = observed.find(folder.id, name);
    if (observed.isPending(folder.id, name)) {
      return { state: 'under way', detail: 'it was found and is being sent' };
    }
    const stats = source.stat(below(folder.path, name));
    if (stats === undefined) return this.#judgeGone(folder, known);
    const seen = seenOfStats(name, stats, folder.device);
    if (seen === undefined) {
      return { state: 'skipped', detail: 'sockets, pipes and devices are not replicated' };
    }
    const { maxSize = Number.POSITIVE_INFINITY } = this.#state.options;
    if (isTooLarge(seen, maxSize)) {
      const stays = known === undefined ? '' : '; what the replica has there stays';
      const detail = `its ${seen.size} bytes are more than --max-size ${maxSize}${stays}`;
      return { state: 'skipped', detail };
    }
    const leftMs = this.#state.settling.leftMs(below(folder.path, name), seen);
    if (leftMs !== undefined) {
      const detail = `--settle: to be left alone for ${Math.round(leftMs)} ms more`;
      return { state: 'put off', detail };
    }
    const pause = observed.pauseOf(folder.id, name);
    if (pause !== undefined) {
      const why =
        pause.reason === 'unstable'
          ? 'it was being written'
          : pause.reason === 'unreadable'
            ? 'it could not be read'
            : 'the receiver refused it';
      const ms = Math.max(0, Math.round(pause.untilMs - clockMs()));
      return { state: 'put off', detail: `${why}; tried again in ${ms} ms` };
    }
    if (known === undefined) return { state: 'not seen yet', detail: 'it is new' };
    if (!sameSeen(known, seen)) {
      return { state: 'not seen yet', detail: 'it changed since it was last looked at' };
    }
    const { kind, version } = known.entry;
    const more = kind === 'file' ? `, ${seen.size} bytes, version ${version}` : '';
    const since = observed.inSyncSince(folder.id, name);
    return { state: 'in sync', detail: `${kind}${more}`, since };
  }

  #judgeGone(folder: Folder, known: Known | undefined): Explanation {
    if (known === undefined) {
      return absent;
    }
    if (!this.#state.options.delete) {
      return { state: 'held', detail: 'gone at the source; --no-delete keeps it at the replica' };
    }
    if (this.#deletes.isRejected(folder.id, known)) {
      return { state: 'rejected', detail: 'gone at the source; its delete was rejected' };
    }
    const { held } = this.#deletes;
    if (held !== undefined) return { state: 'held', detail: `gone at the source; ${held.reason}` };
    return {
      state: 'going',
      detail: 'gone at the source; it is deleted once every directory was looked at',
    };
  }
}

/** What is said of `name` holds for what is below it. */
function above(name: Name, { state, detail }: Explanation): Explanation {
  if (state === 'absent') return absent;
  return { state, detail: `it is below '${printable(name)}': ${detail}` };
}
