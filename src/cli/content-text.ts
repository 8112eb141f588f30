// How far the content under way is, in words. Pure.
import type { ContentFigures } from '../sender/content-gauge.ts';
import { count, formatBytes } from './counted.ts';
import { formatDuration } from './duration.ts';

/** '28%: 1.20 GB of 4.29 GB', '85.2 MB/s' and '36 s left'; nothing where no content is under way. */
export function contentTexts(content: ContentFigures, outstanding: number): readonly string[] {
  const { bytesDone, bytesLeft, bytesPerSecond, isPartial } = content;
  const total = bytesDone + bytesLeft;
  if (total === 0) return [];
  // All of it is on its way: what is waited for is the disk of the receiver.
  if (bytesLeft === 0 && !isPartial) {
    return [`${formatBytes(total)} sent, making ${count(outstanding, 'change')} durable`];
  }
  const amount = `${formatBytes(bytesDone)} of ${formatBytes(total)}`;
  const rate = bytesPerSecond > 0 ? [`${formatBytes(bytesPerSecond)}/s`] : [];
  // What is not found yet takes time too: nobody knows how long.
  if (isPartial) return [`${amount} found so far`, ...rate];
  const share = `${percentOf(bytesDone, total)}: ${amount}`;
  if (bytesPerSecond === 0) return [share];
  const leftMs = Math.ceil(bytesLeft / bytesPerSecond) * 1000;
  return [share, ...rate, `${formatDuration(leftMs)} left`];
}

/** 'films/big.iso: 28% of 4.29 GB', of a large file that is being sent. */
export function fileText({ file }: ContentFigures): readonly string[] {
  if (file === undefined) return [];
  const { path, size, bytesDone } = file;
  return [`${path}: ${percentOf(bytesDone, size)} of ${formatBytes(size)}`];
}

/** The same by its last name, where there is little room. */
export function shortFileText({ file }: ContentFigures): readonly string[] {
  if (file === undefined) return [];
  const name = file.path.split('/').at(-1) ?? '';
  return [`${name} ${percentOf(file.bytesDone, file.size)}`];
}

/** 100% is all of it. */
function percentOf(part: number, whole: number): string {
  return `${Math.floor((part / whole) * 100)}%`;
}
