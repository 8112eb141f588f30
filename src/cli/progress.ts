// The last line on a terminal while a push runs: what is under way, or that nothing is. Log lines
// scroll above it.
import type { Writable } from 'node:stream';
import type { SenderStatus } from '../sender/status-board.ts';
import { contentTexts, shortFileText } from './content-text.ts';
import { count } from './counted.ts';
import { formatDuration } from './duration.ts';
import { plainLine } from './plain-line.ts';

/** Between two looks while something is under way, and while nothing is. */
const busyMs = 250;
const idleMs = 1000;
/** Rates are of about this long. */
const rateWindowMs = 5000;

interface Sample {
  readonly atMs: number;
  readonly operations: number;
}

/** Says what the newest statuses amount to. Pure but for what it remembers of the ones before. */
export class ProgressText {
  #samples: Sample[] = [];
  #quietSinceMs: number | undefined;

  /** One line without an end, for the status as of `nowMs` (monotonic). */
  line(status: SenderStatus, nowMs: number): string {
    const { state, reason, entries, outstanding, operations, content } = status;
    const isBusy = state === 'syncing' && outstanding > 0;
    if (!isBusy) this.#samples = [];
    if (state !== 'in sync') this.#quietSinceMs = undefined;
    switch (state) {
      case 'in sync': {
        this.#quietSinceMs ??= nowMs;
        const quietMs = Math.floor((nowMs - this.#quietSinceMs) / 60_000) * 60_000;
        const since = quietMs === 0 ? '' : ` for ${formatDuration(quietMs)}`;
        return `in sync${since}: ${count(entries, 'entry', 'entries')}`;
      }
      case 'syncing': {
        if (!isBusy) {
          return entries === 0
            ? 'looking at the source'
            : `looking at ${count(entries, 'entry', 'entries')}`;
        }
        this.#note({ atMs: nowMs, operations });
        const amount = content === undefined ? [] : contentTexts(content, outstanding);
        const file = content === undefined ? [] : shortFileText(content);
        const done = `${count(operations, 'change')} durable, ${outstanding} under way`;
        // A narrow terminal shows the beginning.
        const rates = amount.length > 0 ? [] : this.#rates(outstanding);
        return [...amount, ...file, done, ...rates].join('; ');
      }
      case 'connecting':
        return reason === '' ? 'connecting' : `connecting again: ${reason}`;
      case 'comparing':
        return 'comparing with what the receiver has';
      case 'paused':
        return "paused: 'replica resume' goes on";
      case 'deletes held':
      case 'source gone':
        return `${state}: ${reason}`;
    }
  }

  #note(sample: Sample): void {
    this.#samples.push(sample);
    const oldest = this.#samples[1];
    if (oldest !== undefined && sample.atMs - oldest.atMs >= rateWindowMs) this.#samples.shift();
  }

  /** Of changes without content: renames, deletes. */
  #rates(outstanding: number): string[] {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs - first.atMs < 1000) return [];
    const seconds = (last.atMs - first.atMs) / 1000;
    const operations = (last.operations - first.operations) / seconds;
    if (operations < 1) return [];
    const leftMs = Math.ceil(outstanding / operations) * 1000;
    return [`${Math.round(operations)} changes/s`, `${formatDuration(leftMs)} left`];
  }
}

/** What log-update makes for a stream. */
interface Screen {
  (...text: string[]): void;
  clear(): void;
  done(): void;
}

export class Progress {
  readonly #screen: Screen;
  readonly #text = new ProgressText();
  readonly #columns: () => number;
  #status: (() => SenderStatus) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #shown = '';

  constructor(screen: Screen, columns: () => number) {
    this.#screen = screen;
    this.#columns = columns;
  }

  /** Shows where that stands until `stop`. */
  follow(status: () => SenderStatus): void {
    this.#status = status;
    this.#tick();
  }

  /** Something else is about to be written: the line comes back with the next look. */
  clear(): void {
    if (this.#shown === '') return;
    this.#screen.clear();
    this.#shown = '';
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#status = undefined;
    this.clear();
    this.#screen.done();
  }

  #tick(): void {
    const status = this.#status?.();
    if (status === undefined) return;
    const line = plainLine(this.#text.line(status, performance.now()));
    const text = cutTo(line, this.#columns() - 1);
    if (text !== this.#shown) this.#screen(text);
    this.#shown = text;
    this.#timer = setTimeout(() => this.#tick(), status.state === 'syncing' ? busyMs : idleMs);
    this.#timer.unref();
  }
}

/** What fits: a line that wraps could not be taken away as one. */
function cutTo(line: string, columns: number): string {
  let width = 0;
  let text = '';
  for (const char of line) {
    width += isWide.test(char) ? 2 : 1;
    if (width > columns) break;
    text += char;
  }
  return text;
}

/** Characters that terminals draw over two columns: names may have them. */
const isWide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6]/u;

export async function openProgress(
  terminal: Writable & { readonly columns?: number },
): Promise<Progress> {
  const { createLogUpdate } = await import('log-update');
  // log-update asks for no more than a Writable has; its types want a terminal.
  const screen: Screen = createLogUpdate(terminal as NodeJS.WriteStream, {
    // A process that is killed must not leave a terminal without its cursor.
    showCursor: true,
  });
  return new Progress(screen, () => terminal.columns || 80);
}
