/**
 * What `events` says until it ends or, once `signal` aborted, for `graceMs()` more: a source that
 * hangs in the file system cannot say that it ends.
 */
export async function* untilStopped<T>(
  events: AsyncIterator<T, unknown>,
  signal: AbortSignal,
  graceMs: () => number,
): AsyncGenerator<T, void, void> {
  let timer: NodeJS.Timeout | undefined;
  let stop = (): void => {};
  const stopped = new Promise<undefined>(resolve => {
    stop = () => {
      timer = setTimeout(resolve, graceMs(), undefined);
    };
  });
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    for (;;) {
      const next = events.next();
      // Left behind when the time is over; it may still fail.
      next.catch(() => {});
      const result = await Promise.race([next, stopped]);
      if (result === undefined || result.done === true) return;
      yield result.value;
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}
