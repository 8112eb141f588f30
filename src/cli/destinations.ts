// What `replica receive` is given: a folder, or several with names by which senders ask for them.
import { resolve } from 'node:path';
import { checkDestination, isInside } from './checks.ts';
import { usage } from './setting.ts';
import { isReplicaName } from './target.ts';

export interface Destination {
  /** '' for the one without. */
  readonly name: string;
  readonly root: string;
}

/** `PATH` or `NAME=PATH`; what comes before = is a name unless it has a slash. Throws ERR_USAGE. */
export function readDestination(text: string, cwd: string): Destination {
  const at = text.indexOf('=');
  const name = at < 0 ? '' : text.slice(0, at);
  if (name.includes('/') || at < 0) return { name: '', root: resolve(cwd, text) };
  const path = text.slice(at + 1);
  if (!isReplicaName(name) || path === '') {
    const remedy = 'as in docs=/srv/docs (a folder with = in its name: ./a=b)';
    throw usage(
      `'${text}'`,
      `a name of letters, digits, '.', '_' and '-', and a folder, ${remedy}`,
    );
  }
  return { name, root: resolve(cwd, path) };
}

/** Makes the last folder of each where it is missing. Throws ERR_USAGE, ERR_PATH. */
export function readDestinations(texts: readonly string[], cwd: string): readonly Destination[] {
  const destinations = texts.map(text => readDestination(text, cwd));
  const names = destinations.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === '')
    throw usage('<dst>', 'with several folders all but one need a name, as in docs=/srv/docs');
  if (twice !== undefined) throw usage('<dst>', `the name '${twice}' is given twice`);
  const roots = destinations.map(({ root }) => checkDestination(root));
  for (const [i, root] of roots.entries()) {
    if (roots.indexOf(root) !== i) throw usage('<dst>', `${root} is given twice`);
    const inner = roots.find(other => other !== root && isInside(other, root));
    if (inner !== undefined) throw usage('<dst>', `${inner} lies in ${root}, another of them`);
  }
  return destinations;
}
