// What a sender's events add up to, for --metrics.
import type { SenderEvent } from '../sender/events.ts';
import { formatDuration } from './duration.ts';
import { DurationHistogram, type Family, single, WordCounter } from './exposition.ts';
import type { Health, Metrics } from './metrics-server.ts';

/** Out of sync and without a commit for longer than this is out of order. */
const stallMs = 60_000;

const nothingHeld = { count: 0, reason: '' };

export interface PushMetricsOptions {
  readonly source: string;
  /** Monotonic. */
  readonly nowMs: () => number;
  /**
   * Age of the oldest change that is not durable at the replica, for a sender that knows it: 0 in
   * sync, undefined unknown. Otherwise the time since the trees were last known to be equal, which is
   * never less.
   */
  readonly oldestChangeMs?: () => number | undefined;
}

export class PushMetrics implements Metrics {
  readonly #options: PushMetricsOptions;
  readonly #problems = new WordCounter('code');
  readonly #disconnects = new WordCounter('code');
  readonly #commitSeconds = new DurationHistogram();
  readonly #sum = { commits: 0, operations: 0, bytesSent: 0, bytesReused: 0, resent: 0, lost: 0 };
  #peer: string | undefined;
  #disconnectReason = 'not connected yet';
  #entries: number | undefined;
  #special: number | undefined;
  #held = nothingHeld;
  #poll: (SenderEvent & { readonly kind: 'poll' }) | undefined;
  #sourceTrouble: string | undefined;
  #isSynced = false;
  /** When the trees stopped being known to be equal, and when something last moved. */
  #unequalMs: number;
  #progressMs: number;

  constructor(options: PushMetricsOptions) {
    this.#options = options;
    this.#unequalMs = options.nowMs();
    this.#progressMs = this.#unequalMs;
  }

  note(event: SenderEvent): void {
    const wasEqual = this.#isEqual();
    this.#take(event);
    if (event.kind === 'connected' || event.kind === 'commit' || wasEqual !== this.#isEqual()) {
      this.#progressMs = this.#options.nowMs();
    }
    if (wasEqual && !this.#isEqual()) this.#unequalMs = this.#options.nowMs();
  }

  #take(event: SenderEvent): void {
    switch (event.kind) {
      case 'connected':
        this.#peer = event.peer;
        return;
      case 'disconnected':
        this.#peer = undefined;
        this.#isSynced = false;
        this.#disconnectReason = event.error.message;
        this.#disconnects.add(event.error.code);
        return;
      case 'commit':
        // The next look that finds nothing says 'synced' again.
        this.#isSynced = false;
        this.#sum.commits++;
        this.#sum.operations += event.operations;
        this.#sum.bytesSent += event.bytesSent;
        this.#sum.bytesReused += event.bytesReused;
        this.#sum.resent += event.resent;
        this.#commitSeconds.observe(event.ms / 1000);
        return;
      case 'problem':
        this.#problems.add(event.problem.code);
        return;
      case 'lost':
        this.#sum.lost += event.count;
        return;
      case 'held':
        this.#held = event;
        return;
      case 'released':
        this.#held = nothingHeld;
        return;
      case 'source':
        this.#sourceTrouble =
          event.state === 'back' ? undefined : `the source is ${event.state}: ${event.reason}`;
        return;
      case 'poll':
        this.#poll = event;
        return;
      case 'synced':
        this.#isSynced = true;
        this.#entries = event.entries;
        this.#special = event.special;
        return;
      case 'reconciling':
      case 'state':
      case 'operation':
      case 'end':
    }
  }

  health(): Health {
    const wrong = this.#fault();
    if (wrong !== undefined) return { isHealthy: false, reason: wrong };
    return { isHealthy: true, state: this.#isEqual() ? 'in sync' : 'replicating' };
  }

  families(): readonly Family[] {
    const { source } = this.#options;
    const { commits, operations, bytesSent, bytesReused, resent, lost } = this.#sum;
    const poll = this.#poll;
    return [
      {
        name: 'replica_push_info',
        type: 'gauge',
        help: 'Always 1; what is pushed, and to whom while connected.',
        samples: [{ labels: { source, peer: this.#peer ?? '' }, value: 1 }],
      },
      gauge('connected', '1 while there is a session with the receiver.', this.#peer ? 1 : 0),
      gauge('in_sync', '1 when the last look found source and replica equal.', +this.#isEqual()),
      gauge(
        'lag_seconds',
        'Age of the oldest change not yet durable, at most.',
        this.#lagSeconds(),
      ),
      gauge('source_up', '0 while the source is gone or does not answer.', +!this.#sourceTrouble),
      gauge('held_deletes', 'Deletes that wait for a decision.', this.#held.count),
      gauge('entries', 'Entries of the source, as of the last time in sync.', this.#entries),
      gauge('special_entries', 'Sockets, pipes and devices, skipped.', this.#special),
      counter('commits_total', 'Durable commits.', commits),
      counter('operations_total', 'Operations of durable commits.', operations),
      counter('sent_bytes_total', 'Bytes of content that crossed the wire.', bytesSent),
      counter('reused_bytes_total', 'Bytes of content that the replica had.', bytesReused),
      counter('resent_files_total', 'Files whose bytes had to follow.', resent),
      counter('drift_total', 'Entries that others changed at the destination.', lost),
      {
        name: 'replica_commit_seconds',
        type: 'histogram',
        help: 'From the first operation of a commit to its acknowledgement.',
        samples: this.#commitSeconds.samples(),
      },
      {
        name: 'replica_problems_total',
        type: 'counter',
        help: 'Entries that could not be read or written, each once until it is over.',
        samples: this.#problems.samples(),
      },
      {
        name: 'replica_disconnects_total',
        type: 'counter',
        help: 'Connections that broke and attempts that failed.',
        samples: this.#disconnects.samples(),
      },
      gauge('directories', 'Directories that are looked at.', poll?.directories),
      gauge('hot_directories', 'Directories listed at every look.', poll?.hotDirectories),
      gauge('sweep_seconds', 'Between two looks at a file.', seconds(poll?.sweepPeriodMs)),
      gauge('sweep_cost_seconds', 'What one sweep takes.', seconds(poll?.sweepCostMs)),
      gauge('pass_seconds', 'Between two looks at a directory.', seconds(poll?.passPeriodMs)),
    ];
  }

  #isEqual(): boolean {
    const isKnown = this.#peer !== undefined && this.#sourceTrouble === undefined;
    return isKnown && this.#isSynced && this.#held.count === 0;
  }

  #lagSeconds(): number {
    const { nowMs, oldestChangeMs } = this.#options;
    const known = oldestChangeMs?.();
    if (known !== undefined) return known / 1000;
    return this.#isEqual() ? 0 : (nowMs() - this.#unequalMs) / 1000;
  }

  /** Why somebody should have a look, or undefined. */
  #fault(): string | undefined {
    if (this.#sourceTrouble !== undefined) return this.#sourceTrouble;
    if (this.#peer === undefined) return `not connected: ${this.#disconnectReason}`;
    if (this.#held.count > 0) return `${this.#held.count} deletes held: ${this.#held.reason}`;
    if (this.#isEqual()) return undefined;
    const quietMs = this.#options.nowMs() - this.#progressMs;
    if (quietMs < stallMs) return undefined;
    return `not in sync, and no commit for ${formatDuration(quietMs)}`;
  }
}

function gauge(name: string, help: string, value: number | undefined): Family {
  return single('gauge', `replica_${name}`, help, value);
}

function counter(name: string, help: string, value: number): Family {
  return single('counter', `replica_${name}`, help, value);
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}
