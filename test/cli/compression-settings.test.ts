import t from 'tap';
import { type GivenCompressionFlags, readCompression } from '../../src/cli/compression-settings.ts';
import { Settings } from '../../src/cli/settings.ts';

const none = { compressAlways: undefined, compress: undefined, compressLevel: undefined };

function settings(env: Record<string, string>): Settings {
  const flags = new Set(['compress', 'compress-level']);
  const configFile = '/nowhere/config.json';
  return Settings.load({ command: 'push', flags, allFlags: flags, env, configFile, sections: [] });
}

t.test('each word has its meaning, and -z is --compress on', async t => {
  const rows: [Partial<GivenCompressionFlags>, Record<string, string>, object][] = [
    [{}, {}, { when: 'spare' }],
    [{ compressAlways: true }, {}, { when: 'always' }],
    [{ compressAlways: true }, { REPLICA_COMPRESS: 'off' }, { when: 'always' }],
    [{ compressAlways: true, compress: 'zstd' }, {}, { when: 'always', codec: 'zstd' }],
    [{ compress: 'brotli', compressLevel: '9' }, {}, { when: 'always', codec: 'brotli', level: 9 }],
    [{ compress: 'off' }, { REPLICA_COMPRESS: 'on' }, { when: 'never' }],
    [{}, { REPLICA_COMPRESS: 'on', REPLICA_COMPRESS_LEVEL: '3' }, { when: 'always', level: 3 }],
  ];
  for (const [given, env, expected] of rows) {
    const found = readCompression(settings(env), { ...none, ...given });
    t.same(JSON.parse(JSON.stringify(found)), expected);
  }
});

t.test('a level that is none is refused with its origin', async t => {
  for (const level of ['0', '20', '1.5', 'fast', '-1']) {
    const read = () => readCompression(settings({ REPLICA_COMPRESS_LEVEL: level }), none);
    t.throws(read, { code: 'ERR_USAGE', message: /REPLICA_COMPRESS_LEVEL/ }, level);
  }
});
