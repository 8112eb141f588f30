/** Resolves once `isTrue`, however long a busy machine takes; throws after a minute. */
export async function until(isTrue: () => boolean, what = 'the condition'): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error(`${what} did not come true`);
    await new Promise(resolve => setTimeout(resolve, 2));
  }
}
