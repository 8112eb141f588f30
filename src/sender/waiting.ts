// Waiting that a stop can end.

/** Acts once the signal is aborted, or at once if it is; `forget` lets go of the signal. */
export function onAbort(
  signal: AbortSignal,
  act: () => void,
): { done: Promise<void>; forget(): void } {
  let resolve = (): void => {};
  const done = new Promise<void>(settle => {
    resolve = settle;
  });
  const abort = (): void => {
    act();
    resolve();
  };
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return { done, forget: () => signal.removeEventListener('abort', abort) };
}

/** Resolves after `ms`, or at once when the signal is aborted. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal?.aborted === true) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end, { once: true });
  });
}
