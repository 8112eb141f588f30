/** Lets messages be received, and others have their turn, between two pieces of work. */
export function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}
