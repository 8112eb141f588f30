// Tests of whole programs that pass over each transport alike, and take too long to run over all.
import t, { type Test } from 'tap';
import { isRoot } from './mounts.ts';

type Body<Way> = (t: Test, way: Way) => Promise<void>;
type Options = { readonly skip?: string | boolean };

/** What is called in place of t.test: `body` and options come as there. */
export type TestInTurn<Way> = (
  name: string,
  ...rest: readonly [Body<Way>] | readonly [Options, Body<Way>]
) => void;

/**
 * Each test gets one of `ways`, the next one the next; root and anybody else begin apart, so that
 * what both run goes each way. All of them with ALL_SEEDS=1.
 */
export function inTurn<Way extends string>(ways: readonly Way[]): TestInTurn<Way> {
  let turn = isRoot ? 0 : 1;
  return (name, ...rest) => {
    const [options, body] = rest.length === 1 ? [{}, rest[0]] : rest;
    const next = turn++ % ways.length;
    const own = ways.filter((_, i) => i === next || process.env.ALL_SEEDS !== undefined);
    for (const way of own) void t.test(`${name}, ${way}`, options, t => body(t, way));
  };
}
