// --bwlimit: a rate as rsync takes it, or a timetable as rclone does.
import { Throttle } from '../net/throttle.ts';
import { type Setting, usage } from './settings.ts';

/** From that minute of the week on, Sunday 00:00 being 0. */
interface Step {
  readonly minute: number;
  readonly bytesPerSecond: number;
}

/** In order; the last one also holds before the first, from the week before. */
export interface BandwidthPlan {
  readonly text: string;
  readonly steps: readonly [Step, ...Step[]];
}

/** Below this a frame would take longer than its receiver waits for its end. */
const rateMin = 16 * 1024;
const checkMs = 1000;
const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const minutesADay = 24 * 60;

const noLimit: BandwidthPlan = {
  text: 'off',
  steps: [{ minute: 0, bytesPerSecond: Number.POSITIVE_INFINITY }],
};

export function readBandwidth(setting: Setting<string> | undefined): BandwidthPlan {
  return setting === undefined ? noLimit : parseBandwidth(setting.value, setting.origin);
}

/**
 * `RATE`, or `HH:MM,RATE` and `Day-HH:MM,RATE` apart by spaces, in local time. A rate is a number
 * of KiB a second, or one with a unit: 500, 1.5M, 2MB (1000 based), 100KiB, 0 or off for no limit.
 * Throws ERR_USAGE.
 */
export function parseBandwidth(text: string, origin: string): BandwidthPlan {
  const words = text.trim().split(/\s+/);
  const [only] = words;
  if (words.length === 1 && only !== undefined && !only.includes(',')) {
    return { text, steps: [{ minute: 0, bytesPerSecond: parseRate(only, origin) }] };
  }
  const steps = words.flatMap(word => parseSteps(word, origin));
  steps.sort((a, b) => a.minute - b.minute);
  const [first, ...rest] = steps;
  if (first === undefined) throw usage(origin, 'expected a rate such as 512, 1.5M or off');
  return { text, steps: [first, ...rest] };
}

/** Bytes a second at that time, Infinity without a limit. */
export function rateAt({ steps }: BandwidthPlan, time: Date): number {
  const minute = time.getDay() * minutesADay + time.getHours() * 60 + time.getMinutes();
  let { bytesPerSecond } = steps.at(-1) ?? steps[0];
  for (const step of steps) if (step.minute <= minute) bytesPerSecond = step.bytesPerSecond;
  return bytesPerSecond;
}

function parseSteps(word: string, origin: string): Step[] {
  const match = /^(?:([a-z]{3})-)?([01]?\d|2[0-3]):([0-5]\d),(.+)$/i.exec(word);
  const [, day, hours, minutes, rate] = match ?? [];
  const dayIndex = day === undefined ? undefined : days.indexOf(day.toLowerCase());
  if (rate === undefined || dayIndex === -1) {
    throw usage(origin, `'${word}' is not like 08:00,512 or Mon-08:00,512`);
  }
  const bytesPerSecond = parseRate(rate, origin);
  const minuteOfDay = Number(hours) * 60 + Number(minutes);
  const indexes = dayIndex === undefined ? [...days.keys()] : [dayIndex];
  return indexes.map(index => ({ minute: index * minutesADay + minuteOfDay, bytesPerSecond }));
}

function parseRate(text: string, origin: string): number {
  if (/^off$/i.test(text)) return Number.POSITIVE_INFINITY;
  const match = /^(\d{1,12}(?:\.\d{1,6})?)(?:(b)|([kmg])(i?b)?)?$/i.exec(text);
  if (match === null) throw usage(origin, `'${text}' is no rate such as 512, 1.5M or off`);
  const [, digits, isBytes, unit = 'k', suffix = ''] = match;
  const base = /^b$/i.test(suffix) ? 1000 : 1024;
  const power = isBytes === undefined ? 'kmg'.indexOf(unit.toLowerCase()) + 1 : 0;
  const rate = Number(digits) * base ** power;
  if (rate === 0) return Number.POSITIVE_INFINITY;
  if (rate < rateMin) throw usage(origin, `'${text}' is below the least of 16 (KiB a second)`);
  return rate;
}

/** Holds a throttle to a plan for as long as it is open. */
export class Bandwidth {
  readonly throttle: Throttle;
  readonly #now: () => Date;
  readonly #timer: NodeJS.Timeout;
  #plan: BandwidthPlan;

  constructor(plan: BandwidthPlan, now: () => Date = () => new Date()) {
    this.#plan = plan;
    this.#now = now;
    this.throttle = new Throttle(rateAt(plan, now()));
    this.#timer = setInterval(() => this.check(), checkMs).unref();
  }

  get text(): string {
    return this.#plan.text;
  }

  set plan(plan: BandwidthPlan) {
    this.#plan = plan;
    this.check();
  }

  /** Sets the rate of this minute. */
  check(): void {
    this.throttle.bytesPerSecond = rateAt(this.#plan, this.#now());
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
