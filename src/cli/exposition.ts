// The text format that Prometheus scrapes (Exposition formats, version 0.0.4). Pure.
import { plainLine } from './plain-line.ts';

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  /** What comes after the family's name: '_sum'. */
  readonly suffix?: string;
  readonly labels?: Labels;
  readonly value: number;
}

/** All samples of one metric. */
export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary';
  readonly help: string;
  readonly samples: readonly Sample[];
}

export const contentType = 'text/plain; version=0.0.4; charset=utf-8';

export function formatFamilies(families: readonly Family[]): string {
  return families.map(formatFamily).join('');
}

function formatFamily({ name, type, help, samples }: Family): string {
  const lines = samples.map(
    ({ suffix = '', labels = {}, value }) =>
      `${name}${suffix}${formatLabels(labels)} ${formatValue(value)}\n`,
  );
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** A value may quote a path or a peer: no control character reaches whoever shows it. */
function escapeLabel(value: string): string {
  return plainLine(value).replaceAll('\\', '\\\\').replaceAll('"', '\\"');
}

function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return String(value);
}

/** A metric of one value. */
export function single(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  value: number | undefined,
): Family {
  return { name, type, help, samples: value === undefined ? [] : [{ value }] };
}

/** Upper bounds of the buckets, in seconds: a commit on an SSD to one on a slow link. */
const secondsBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Counts durations by size. */
export class DurationHistogram {
  readonly #counts = secondsBounds.map(() => 0);
  #count = 0;
  #sum = 0;

  observe(seconds: number): void {
    this.#count++;
    this.#sum += seconds;
    const bucket = secondsBounds.findIndex(bound => seconds <= bound);
    if (bucket >= 0) this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  /** Buckets count everything up to their bound. */
  samples(): readonly Sample[] {
    let below = 0;
    const buckets = secondsBounds.map((bound, i) => {
      below += this.#counts[i] ?? 0;
      return { suffix: '_bucket', labels: { le: String(bound) }, value: below };
    });
    return [
      ...buckets,
      { suffix: '_bucket', labels: { le: '+Inf' }, value: this.#count },
      { suffix: '_sum', value: this.#sum },
      { suffix: '_count', value: this.#count },
    ];
  }
}

/** Counts things by a word of ours or of the system. */
export class WordCounter {
  readonly #counts = new Map<string, number>();
  readonly #label: string;

  constructor(label: string) {
    this.#label = label;
  }

  add(word: string): void {
    const known = this.#counts.has(word) || this.#counts.size < wordsMax ? word : 'other';
    this.#counts.set(known, (this.#counts.get(known) ?? 0) + 1);
  }

  samples(): readonly Sample[] {
    return [...this.#counts].map(([word, value]) => ({ labels: { [this.#label]: word }, value }));
  }
}

/** Each word is a time series for whoever scrapes; there are some 130 system errors. */
const wordsMax = 150;
