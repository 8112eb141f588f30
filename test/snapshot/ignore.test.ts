import t from 'tap';
import { IgnoreRules } from '../../src/snapshot/ignore.ts';

t.test('rules speak for their directory and below, deeper ones win', async t => {
  const root = IgnoreRules.none.with('', ['*.log', '/build', 'tmp/', '!keep.log']);
  t.equal(IgnoreRules.none.isEmpty, true);
  t.equal(root.isEmpty, false);
  t.equal(root.ignores('a.log', false), true);
  t.equal(root.ignores('deep/a.log', false), true);
  t.equal(root.ignores('deep/keep.log', false), false);
  t.equal(root.ignores('build', true), true);
  t.equal(root.ignores('deep/build', true), false, 'anchored');
  t.equal(root.ignores('tmp', false), false, 'a file is no directory');
  t.equal(root.ignores('tmp', true), true);
  const deep = root.with('deep', '!*.log\nsecret\n# a comment\n');
  t.equal(deep.ignores('deep/a.log', false), false, 'taken back below');
  t.equal(deep.ignores('deep/secret', false), true);
});

t.test('matches names that are not ASCII, and survives names that are no text', async t => {
  const latin1 = (text: string): string => Buffer.from(text).toString('latin1');
  const rules = IgnoreRules.none.with('', ['žluť*']);
  t.equal(rules.ignores(latin1('žluťoučký'), false), true);
  t.equal(rules.ignores('f\xff\xfe', false), false);
  t.equal(IgnoreRules.none.with('', ['*']).ignores('f\xff', false), true);
});
