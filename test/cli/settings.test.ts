import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Settings, type SettingsOptions } from '../../src/cli/settings.ts';

const flags = new Set(['interval', 'once', 'exclude', 'verbose', 'port', 'fsync']);

function load(t: Test, change: Partial<SettingsOptions> & { config?: unknown; lines?: string }) {
  const folder = t.testdir({
    'config.json': change.config === undefined ? '{}' : JSON.stringify(change.config),
    'bad.json': '{"a":',
    'a.env': change.lines ?? '',
  });
  return Settings.load({
    command: 'push',
    flags,
    allFlags: new Set([...flags, 'host']),
    sections: ['push', 'receive'],
    env: {},
    envFile: change.lines === undefined ? undefined : join(folder, 'a.env'),
    configFile: join(folder, 'config.json'),
    ...change,
  });
}

t.test('flag beats environment beats env file beats config section beats config top', async t => {
  const config = { interval: '5s', push: { interval: '4s' }, receive: { port: 1 } };
  const lines = 'REPLICA_INTERVAL=3s\n';
  const env = { REPLICA_INTERVAL: '2s' };
  const value = (settings: Settings, given?: string) => settings.text('interval', given)?.value;
  t.equal(value(load(t, { config, lines, env }), '1s'), '1s');
  t.equal(value(load(t, { config, lines, env })), '2s');
  t.equal(value(load(t, { config, lines })), '3s');
  t.equal(value(load(t, { config })), '4s');
  t.equal(value(load(t, { config: { interval: '5s' } })), '5s');
  t.equal(value(load(t, { config: { receive: { port: 1 } } })), undefined);
});

t.test('an empty variable is one that is not set', async t => {
  const settings = load(t, { env: { REPLICA_INTERVAL: '' }, config: { interval: 7 } });
  t.equal(settings.text('interval', undefined)?.value, '7');
});

t.test('reads switches, lists, counts, ports and choices from every layer', async t => {
  const env = {
    REPLICA_ONCE: 'yes',
    REPLICA_EXCLUDE: '*.o\n\nbuild/',
    REPLICA_VERBOSE: '2',
    REPLICA_PORT: '80',
    REPLICA_FSYNC: 'off',
  };
  const fromEnv = load(t, { env });
  t.equal(fromEnv.switch('once', undefined), true);
  t.equal(fromEnv.switch('once', false), false, 'the flag wins');
  t.same(fromEnv.list('exclude', undefined), ['*.o', 'build/']);
  t.same(fromEnv.list('exclude', ['x']), ['x']);
  t.equal(fromEnv.count('verbose', undefined), 2);
  t.equal(fromEnv.port('port', undefined, 1), 80);
  t.equal(fromEnv.choice('fsync', undefined, ['batch', 'off']), 'off');
  const config = { once: false, exclude: ['a', 'b'], verbose: true, port: 81 };
  const fromConfig = load(t, { config });
  t.equal(fromConfig.switch('once', undefined), false);
  t.same(fromConfig.list('exclude', undefined), ['a', 'b']);
  t.equal(fromConfig.count('verbose', undefined), 1);
  t.equal(fromConfig.port('port', undefined, 1), 81);
  const nothing = load(t, {});
  t.equal(nothing.switch('once', undefined), false);
  t.same(nothing.list('exclude', undefined), []);
  t.equal(nothing.count('verbose', undefined), 0);
  t.equal(nothing.port('port', undefined, 1), 1);
  t.equal(nothing.choice('fsync', undefined, ['batch', 'off']), 'batch');
});

t.test('env file values may be quoted and hold line breaks', async t => {
  const settings = load(t, { lines: 'REPLICA_EXCLUDE="*.o\\nbuild/"\n# a comment\nOTHER=1\n' });
  t.same(settings.list('exclude', undefined), ['*.o', 'build/']);
});

t.test('REPLICA_KEY is read from the environment, then from the env file', async t => {
  t.match(load(t, { env: { REPLICA_KEY: 'a' }, lines: 'REPLICA_KEY=b' }).variable('REPLICA_KEY'), {
    value: 'a',
    origin: 'REPLICA_KEY',
  });
  t.equal(load(t, { lines: 'REPLICA_KEY=b' }).variable('REPLICA_KEY')?.value, 'b');
  t.equal(load(t, {}).variable('REPLICA_KEY'), undefined);
});

t.test('errors name where the value came from', async t => {
  const duration = { fallback: '500', min: 10, max: 1000 };
  const rows: [() => unknown, RegExp][] = [
    [
      () => load(t, { env: { REPLICA_INTERVAL: 'abc' } }).duration('interval', undefined, duration),
      /^REPLICA_INTERVAL: 'abc' is not a duration/,
    ],
    [() => load(t, {}).duration('interval', '5', duration), /^--interval: 5 is not from 10 ms/],
    [
      () => load(t, { lines: 'REPLICA_ONCE=maybe' }).switch('once', undefined),
      /^REPLICA_ONCE in .*a\.env: expected true or false, not 'maybe'/,
    ],
    [
      () => load(t, { config: { push: { port: 'x' } } }).port('port', undefined, 1),
      /^push\.port in .*config\.json: 'x' is not a port/,
    ],
    [
      () => load(t, { env: { REPLICA_FSYNC: 'on' } }).choice('fsync', undefined, ['batch', 'off']),
      /^REPLICA_FSYNC: 'on' is not one of batch, off/,
    ],
    [() => load(t, { config: { once: true } }).list('once', undefined), /expected a list of texts/],
    [() => load(t, { config: { once: true } }).text('once', undefined), /expected a text/],
    [() => load(t, { env: { REPLICA_VERBOSE: 'x' } }).count('verbose', undefined), /0 to 9/],
  ];
  for (const [action, message] of rows) t.throws(action, { code: 'ERR_USAGE', message });
});

t.test('refuses settings that do not exist and files that cannot be read', async t => {
  const rows: [() => unknown, RegExp][] = [
    [() => load(t, { config: { intervall: '5s' } }), /there is no setting 'intervall'/],
    [() => load(t, { config: { push: { bogus: 1 } } }), /there is no setting 'push\.bogus'/],
    [() => load(t, { config: { push: { once: null } } }), /'push\.once' must be/],
    [() => load(t, { config: [1] }), /expected a JSON object/],
    [() => load(t, { lines: 'REPLICA_INTERVALL=5' }), /there is no setting REPLICA_INTERVALL/],
    [() => load(t, { envFile: '/nonexistent/x.env' }), /^--env-file: cannot read .*ENOENT/],
  ];
  for (const [action, message] of rows) t.throws(action, { code: 'ERR_USAGE', message });
  t.doesNotThrow(() => load(t, { configFile: '/nonexistent/config.json' }));
  t.doesNotThrow(() => load(t, { env: { REPLICA_UNRELATED: '1' } }), 'others may use the prefix');
  t.doesNotThrow(() => load(t, { config: { host: '::', receive: { host: '::1' } } }));
  const bad = join(t.testdirName, 'bad.json');
  t.throws(() => load(t, { configFile: bad }), { message: /bad\.json: not valid JSON/ });
});
