// Where a running sender stands, put together from what it tells and from a few live figures.
import type { Problem } from '../errors.ts';
import { printable } from '../snapshot/name.ts';
import type { PollFigures } from './change.ts';
import { clockMs } from './clock.ts';
import type { ContentFigures } from './content-gauge.ts';
import type { SenderEvent } from './events.ts';

export type SenderState =
  /** No receiver, or none that answers; `reason` is why. */
  | 'connecting'
  /** Both sides look for where their records differ. */
  | 'comparing'
  | 'syncing'
  | 'in sync'
  /** In sync but for deletes that wait for a decision; `reason` is why. */
  | 'deletes held'
  | 'paused'
  /** The source is not there, or hangs; `reason` is how. Nothing is deleted. */
  | 'source gone';

/** A problem of one entry, with its name made fit to print. */
export interface NotedProblem {
  readonly path: string;
  readonly code: string;
  readonly message: string;
  readonly agoMs: number;
}

/** Plain data: it crosses the control socket as JSON. */
export interface SenderStatus {
  readonly state: SenderState;
  readonly reason: string;
  readonly peer: string;
  /** Everything found at the source is durable at the replica. */
  readonly inSync: boolean;
  /** Age of the oldest change that is not; 0 when there is none. */
  readonly lagMs: number;
  readonly entries: number;
  /** Sockets, pipes and devices, which are skipped. */
  readonly special: number;
  /** Files beyond --max-size, which are skipped. */
  readonly tooLarge?: number;
  /** Names whose delete was rejected: they stay at the replica. */
  readonly rejected?: number;
  /** Changes under way. */
  readonly outstanding: number;
  /** Their content; undefined without a connection. */
  readonly content?: ContentFigures | undefined;
  /** Newest durable commit of this process; 0 before the first. */
  readonly watermark: number;
  readonly commits: number;
  readonly operations: number;
  /** Bytes of content that crossed the wire, and that the receiver had already. */
  readonly bytesSent: number;
  readonly bytesReused: number;
  readonly held: { readonly count: number; readonly reason: string } | undefined;
  /** Bytes of frames that this connection has sent. */
  readonly wireBytes: number;
  /** Entries that something else changed at the destination, and that were put right. */
  readonly drift: number;
  readonly problems: readonly NotedProblem[];
  readonly poll: PollFigures | undefined;
}

/** What only the sender's parts know. */
export interface LiveFigures {
  readonly isPaused: boolean;
  readonly isSynced: boolean;
  readonly entries: number;
  readonly special: number;
  readonly tooLarge: number;
  readonly rejected: number;
  readonly outstanding: number;
  readonly content: ContentFigures | undefined;
  readonly wireBytes: number;
  /** When the oldest change that is not durable was found (monotonic). */
  readonly oldestMs: number | undefined;
  readonly poll: PollFigures | undefined;
}

/** The newest problems are shown. */
const problemsMax = 20;

export class StatusBoard {
  #link: { state: 'connecting' | 'comparing' | 'connected'; reason: string } = {
    state: 'connecting',
    reason: '',
  };
  #peer = '';
  #source = '';
  #held: SenderStatus['held'];
  readonly #totals = { commits: 0, operations: 0, bytesSent: 0, bytesReused: 0 };
  #watermark = 0;
  #drift = 0;
  readonly #problems: { problem: Problem; atMs: number }[] = [];

  note(event: SenderEvent): void {
    switch (event.kind) {
      case 'connected':
        this.#link = { state: 'connected', reason: '' };
        this.#peer = event.peer;
        return;
      case 'disconnected':
        this.#link = { state: 'connecting', reason: event.error.message };
        return;
      case 'reconciling':
        this.#link = { state: 'comparing', reason: '' };
        return;
      case 'commit':
        this.#watermark = Number(event.commit);
        this.#totals.commits++;
        this.#totals.operations += event.operations;
        this.#totals.bytesSent += event.bytesSent;
        this.#totals.bytesReused += event.bytesReused;
        return;
      case 'problem':
        this.#noteProblem(event.problem);
        return;
      case 'held':
        this.#held = { count: event.count, reason: event.reason };
        return;
      case 'released':
        this.#held = undefined;
        return;
      case 'source':
        this.#source = event.state === 'back' ? '' : event.reason;
        return;
      case 'lost':
        this.#drift += event.count;
        return;
      case 'state':
      case 'operation':
      case 'poll':
      case 'synced':
      case 'end':
        return;
    }
  }

  #noteProblem(problem: Problem): void {
    const at = this.#problems.findIndex(one => one.problem.path === problem.path);
    if (at >= 0) this.#problems.splice(at, 1);
    this.#problems.push({ problem, atMs: clockMs() });
    if (this.#problems.length > problemsMax) this.#problems.shift();
  }

  status(live: LiveFigures): SenderStatus {
    const nowMs = clockMs();
    const { entries, special, tooLarge, rejected, outstanding, content, wireBytes } = live;
    const { poll, oldestMs } = live;
    return {
      ...this.#state(live),
      peer: this.#peer,
      inSync: this.#isInSync(live),
      lagMs: oldestMs === undefined ? 0 : Math.max(0, Math.round(nowMs - oldestMs)),
      ...{ entries, special, tooLarge, rejected, outstanding, content, wireBytes, poll },
      ...this.#totals,
      watermark: this.#watermark,
      held: this.#held,
      drift: this.#drift,
      problems: this.#problems.map(({ problem: { path, code, message }, atMs }) => ({
        path: printable(path === '' ? '.' : path),
        code,
        message,
        agoMs: Math.round(nowMs - atMs),
      })),
    };
  }

  /** A paused sender does not look, and so does not know. */
  #isInSync({ isPaused, isSynced, outstanding, oldestMs }: LiveFigures): boolean {
    const isConnected = this.#link.state === 'connected';
    return (
      !isPaused &&
      isConnected &&
      this.#source === '' &&
      isSynced &&
      outstanding === 0 &&
      oldestMs === undefined
    );
  }

  #state(live: LiveFigures): Pick<SenderStatus, 'state' | 'reason'> {
    if (live.isPaused) return { state: 'paused', reason: '' };
    if (this.#source !== '') return { state: 'source gone', reason: this.#source };
    const { state, reason } = this.#link;
    if (state !== 'connected') return { state, reason };
    if (this.#isInSync(live)) return { state: 'in sync', reason: '' };
    const isHeld = this.#held !== undefined && live.outstanding === 0;
    if (isHeld) return { state: 'deletes held', reason: this.#held?.reason ?? '' };
    return { state: 'syncing', reason: '' };
  }
}
