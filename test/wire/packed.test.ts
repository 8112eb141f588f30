import t from 'tap';
import { packedSizeMax } from '../../src/limits.ts';
import { FrameChecksum } from '../../src/wire/frame.ts';
import { decodePacked, encodePacked } from '../../src/wire/packed.ts';

const parts = [Buffer.from('ab'), Buffer.from('c')];

t.test('golden bytes', async t => {
  const frame = encodePacked({ codec: 'brotli', size: 300, parts });
  t.equal(frame.toString('hex'), `00000008 07 01 0000012c 616263`.replaceAll(' ', ''));
  const checked = encodePacked({ codec: 'zstd', size: 6, parts }, new FrameChecksum());
  t.equal(checked.length, frame.length + 8);
  t.same(checked.subarray(-8), new FrameChecksum().digest(checked.subarray(0, -8)));
});

t.test('what was encoded is decoded', async t => {
  const payload = encodePacked({ codec: 'zstd', size: packedSizeMax, parts }).subarray(5);
  t.same(decodePacked(payload), { codec: 'zstd', size: packedSizeMax, bytes: Buffer.from('abc') });
});

t.test('what cannot be a packed frame is refused on its first bytes', async t => {
  const rows: [string, RegExp][] = [
    ['', /codec/],
    ['01 00000010', /codec/],
    ['00 00000010 61', /codec/],
    ['03 00000010 61', /codec/],
    ['01 00000005 61', /5 bytes/],
    ['01 00080001 61', /524289 bytes/],
    ['01 ffffffff 61', /4294967295 bytes/],
  ];
  for (const [hex, message] of rows) {
    const payload = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    t.throws(() => decodePacked(payload), { code: 'ERR_PROTOCOL', message }, hex);
  }
});
