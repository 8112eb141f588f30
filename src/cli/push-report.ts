// What a sender says, as lines for people and fields for programs.
import type { Writable } from 'node:stream';
import type { Log } from '../log.ts';
import { replacedRoot } from '../sender/change.ts';
import type { SenderEvent, SenderOutcome } from '../sender/events.ts';
import { printable } from '../snapshot/name.ts';
import { count, formatBytes } from './counted.ts';
import { formatDuration } from './duration.ts';
import { ExitCode } from './exit-code.ts';
import { plainLine } from './plain-line.ts';
import { sameLineMs } from './repeated-lines.ts';

export interface ReportTo {
  readonly log: Log;
  readonly stdout: Writable;
  /** False for a failure that was told of just now: it is for those who want to see all. */
  readonly isNews?: boolean;
}

/** Which failures of the way to the receiver are news, and which connections in between. */
export class FailureNews {
  #message = '';
  #saidAtMs = 0;
  #wasConnected = false;

  isNews(event: SenderEvent, nowMs: number): boolean {
    switch (event.kind) {
      case 'commit':
      case 'synced':
        // It works again: the next failure is another one.
        this.#message = '';
        return true;
      case 'connected': {
        const isNews = this.#message === '' || !this.#wasConnected;
        this.#wasConnected = true;
        return isNews;
      }
      case 'disconnected': {
        const { message } = event.error;
        if (message === this.#message && nowMs - this.#saidAtMs < sameLineMs) return false;
        this.#message = message;
        this.#saidAtMs = nowMs;
        this.#wasConnected = false;
        return true;
      }
      default:
        return true;
    }
  }
}

export function reportEvent(event: SenderEvent, { log, stdout, isNews = true }: ReportTo): void {
  switch (event.kind) {
    case 'connected':
      log[isNews ? 'info' : 'debug']({ peer: event.peer }, `connected to ${event.peer}`);
      return;
    case 'disconnected':
      log[isNews ? 'warn' : 'debug'](
        { code: event.error.code, retryInMs: Math.round(event.retryInMs) },
        `${event.error.message}; trying again in ${formatDuration(event.retryInMs)}`,
      );
      return;
    case 'reconciling':
      log.info(
        { entries: event.entries },
        `comparing with the ${count(event.entries, 'entry', 'entries')} of the replica`,
      );
      return;
    case 'state':
      log.warn({}, event.message);
      return;
    case 'poll': {
      const { kind: _, ...figures } = event;
      const { directories, hotDirectories, sweepPeriodMs, passPeriodMs } = figures;
      log.debug(
        figures,
        `${count(directories, 'directory', 'directories')} looked at every ` +
          `${formatDuration(passPeriodMs)}, ${hotDirectories} of them hot; ` +
          `every file every ${formatDuration(sweepPeriodMs)}`,
      );
      return;
    }
    case 'lost':
      log.warn(
        { count: event.count },
        `${count(event.count, 'entry', 'entries')} changed at the destination; putting them right`,
      );
      return;
    case 'commit': {
      const { operations, bytesSent, bytesReused, resent } = event;
      const ms = Math.round(event.ms);
      log.info(
        { commit: Number(event.commit), operations, bytesSent, bytesReused, resent, ms },
        `commit ${event.commit}: ${count(operations, 'operation')}, ${formatBytes(bytesSent)} sent, ` +
          `${formatBytes(bytesReused)} reused, ${formatDuration(ms)}`,
      );
      return;
    }
    case 'problem': {
      const { path, code, message } = event.problem;
      const why = message.includes(code) ? message : `${message} (${code})`;
      log.warn({ path: printable(path), code }, `${printable(path)}: ${why}`);
      return;
    }
    case 'held':
      log.warn(
        { count: event.count },
        `${count(event.count, 'delete')} held: ${event.reason}; 'replica approve' or --accept-deletes releases them`,
      );
      return;
    case 'released':
      log.info({}, 'no deletes are held any more');
      return;
    case 'source': {
      const level = event.state === 'back' ? 'info' : 'warn';
      const what = `the source is ${event.state}: ${event.reason}`;
      const next = event.state === 'gone' ? `; ${sourceRemedy(event.reason)}` : '';
      log[level]({ state: event.state }, `${what}${next}`);
      return;
    }
    case 'operation':
      stdout.write(`${plainLine(event.text)}\n`);
      return;
    case 'synced':
      reportSynced(event, log);
      return;
    case 'end':
      reportEnd(event.outcome, log);
  }
}

/** What brings a push on whose source is gone, for that reason. */
export function sourceRemedy(reason: string): string {
  return reason === replacedRoot
    ? "nothing is deleted: mount it, or 'replica approve' if this is the source from now on"
    : 'nothing is deleted, and it goes on by itself once it is back';
}

function reportSynced(event: SenderEvent & { readonly kind: 'synced' }, log: Log): void {
  const { entries, special, tooLarge = 0 } = event;
  const kinds = count(special, 'socket, pipe or device', 'sockets, pipes and devices');
  const sizes = `${count(tooLarge, 'file')} beyond --max-size`;
  const skipped = [...(special > 0 ? [kinds] : []), ...(tooLarge > 0 ? [sizes] : [])];
  const but = skipped.length > 0 ? `; skipped ${skipped.join(' and ')}` : '';
  const fields = { entries, special, ...(tooLarge > 0 ? { tooLarge } : {}) };
  log.info(fields, `in sync, ${count(entries, 'entry', 'entries')}${but}`);
}

/** Why a --once did not end equal. */
function reportEnd(outcome: SenderOutcome, log: Log): void {
  const { problems, vanished, held } = outcome;
  if (problems > 0) {
    log.warn({ problems }, `${count(problems, 'entry', 'entries')} not transferred`);
  }
  if (vanished > 0) {
    log.warn({ vanished }, `${count(vanished, 'entry', 'entries')} vanished while being read`);
  }
  if (held > 0) log.warn({ held }, `${count(held, 'delete')} held`);
}

/**
 * The exit code of an ended sender. A failure that ended it is thrown, so that it becomes the one
 * line on stderr. A sender that runs until it is told to stop has done its work: 0.
 */
export function outcomeExitCode(
  outcome: SenderOutcome,
  options: { readonly once: boolean; readonly dryRun: boolean },
): ExitCode {
  if (outcome.error !== undefined) throw outcome.error;
  if (!options.once) return ExitCode.Done;
  if (outcome.interrupted && !outcome.inSync) return ExitCode.Interrupted;
  if (outcome.problems > 0) return ExitCode.Partial;
  if (outcome.held > 0) return ExitCode.Held;
  if (outcome.vanished > 0) return ExitCode.Vanished;
  return outcome.inSync || options.dryRun ? ExitCode.Done : ExitCode.Partial;
}
