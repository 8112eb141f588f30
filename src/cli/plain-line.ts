/**
 * Text that may quote a peer, a file or a name, as one line without control characters: the last
 * line of defence of the user's terminal, after printable() in the messages themselves.
 */
export function plainLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim();
}
