import { readFileSync } from 'node:fs';

/** The package's version. */
export function readVersion(): string {
  const { version } = readPackage();
  return version === undefined ? 'unknown' : String(version);
}

/** What to say of a Node.js that is older than the package wants; `version` as in 'v20.20.2'. */
export function nodeTooOld(version: string): string | undefined {
  const { engines } = readPackage();
  const wanted =
    typeof engines === 'object' && engines !== null && 'node' in engines
      ? String(engines.node)
      : '';
  const [has, least] = [version, wanted].map(text => (text.match(/\d+/g) ?? []).map(Number));
  if (has === undefined || least === undefined) return undefined;
  const at = least.findIndex((part, i) => part !== has[i]);
  if (at < 0 || (has[at] ?? 0) > (least[at] ?? 0)) return undefined;
  return `needs Node.js ${least.join('.')} or newer, and this is ${version}`;
}

/** This file runs as dist/src/cli/version.js. */
function readPackage(): { readonly version?: unknown; readonly engines?: unknown } {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  const content: unknown = JSON.parse(text);
  return typeof content === 'object' && content !== null ? content : {};
}
