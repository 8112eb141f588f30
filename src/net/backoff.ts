// When to try again.
import { reconnectMaxMs, reconnectMinMs } from '../limits.ts';

/** Milliseconds before attempt `attempt` (from 0): exponential, full jitter; `random` in [0, 1). */
export function reconnectDelayMs(attempt: number, random: number): number {
  const ceiling = Math.min(reconnectMinMs * 2 ** Math.min(attempt, 30), reconnectMaxMs);
  return Math.max(ceiling * random, reconnectMinMs / 2);
}
