/**
 * Values of `read`, in order, with up to `aheadMax` reads begun before they are wanted; each begins
 * when the one before is done. Ends after a value that `isLast`. Abandoning it begins no more reads.
 */
export async function* readAhead<T>(
  read: () => Promise<T>,
  isLast: (value: T) => boolean,
  aheadMax: number,
): AsyncGenerator<T> {
  let isClosed = false;
  const after = async (previous: Promise<T | undefined>): Promise<T | undefined> => {
    const value = await previous;
    return isClosed || value === undefined || isLast(value) ? undefined : read();
  };
  const begin = (reading: Promise<T | undefined>): Promise<T | undefined> => {
    reading.catch(() => {}); // Reported where it is awaited.
    return reading;
  };
  let newest = begin(read());
  const ahead = [newest];
  try {
    for (;;) {
      while (ahead.length < aheadMax) {
        newest = begin(after(newest));
        ahead.push(newest);
      }
      const value = await ahead.shift();
      if (value === undefined) return;
      yield value;
    }
  } finally {
    isClosed = true;
  }
}
