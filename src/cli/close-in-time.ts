import type { Log } from '../log.ts';
import type { CliContext } from './context.ts';

/** Closing waits this long for a file system call that hangs. */
const closeMsMax = 2000;

/**
 * Closes something, but does not wait forever: a hung file system must not keep the process.
 * `close` may itself say false when it had to leave a hung thread behind.
 */
export async function closeInTime(
  close: () => Promise<boolean>,
  log: Log,
  context: Pick<CliContext, 'onHungThread'>,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>(resolve => {
    timer = setTimeout(resolve, closeMsMax, false);
  });
  try {
    if (await Promise.race([close(), late])) return;
    log.warn({}, 'a file system call hangs; ending without it');
    context.onHungThread();
  } finally {
    clearTimeout(timer);
  }
}
