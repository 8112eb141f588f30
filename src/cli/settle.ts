// --settle: how long a file must have been left alone, for all or by pattern.
import type { SettleRule } from '../sender/settling.ts';
import { parseDuration } from './duration.ts';
import { usage } from './setting.ts';

const settleMsMax = 86_400_000;

/** `TIME` or `PATTERN=TIME`, the pattern in gitignore syntax. Throws ERR_USAGE. */
export function readSettle(texts: readonly string[]): readonly SettleRule[] {
  return texts.map(text => {
    const at = text.lastIndexOf('=');
    const pattern = at < 0 ? undefined : text.slice(0, at);
    const ms = parseDuration(text.slice(at + 1));
    if (ms === undefined || pattern === '') {
      throw usage('--settle', `'${text}' is not like 2s or '*.log=5s'`);
    }
    if (ms > settleMsMax) throw usage('--settle', `'${text}' is more than 24h`);
    return { pattern, ms };
  });
}
