import { readFileSync } from 'node:fs';
import t from 'tap';
import { nodeTooOld, readVersion } from '../../src/cli/version.ts';

const file = new URL('../../../package.json', import.meta.url);
const { version, engines } = JSON.parse(readFileSync(file, 'utf8'));
const least: string = engines.node.replace('>=', '');

t.test('the version is that of the package', async t => {
  t.equal(readVersion(), version);
});

t.test('an older Node.js than the package wants is named', async t => {
  const [major = 0, minor = 0, patch = 0] = least.split('.').map(Number);
  const rows: readonly (readonly [string, boolean])[] = [
    [process.version, false],
    [`v${least}`, false],
    [`v${major}.${minor}.${patch + 1}`, false],
    [`v${major}.${minor + 1}.0`, false],
    [`v${major + 1}.0.0`, false],
    [`v${least}-nightly`, false],
    [`v${major - 2}.${minor + 9}.${patch + 9}`, true],
    [`v${major}.${minor - 1}.${patch + 9}`, true],
    ['v4.0.0', true],
  ];
  for (const [given, isOld] of rows) {
    const text = `needs Node.js ${least} or newer, and this is ${given}`;
    t.equal(nodeTooOld(given), isOld ? text : undefined, given);
  }
});
