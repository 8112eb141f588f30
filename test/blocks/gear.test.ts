import t from 'tap';
import { cutThreshold, gearTable } from '../../src/blocks/gear.ts';

t.test('the table is what it always was', t => {
  const table = gearTable();
  t.equal(table.length, 256);
  const bytes = Buffer.alloc(1024);
  table.forEach((word, i) => {
    bytes.writeUInt32LE(word, i * 4);
  });
  t.equal(bytes.subarray(0, 16).toString('hex'), '9ec9ec224b20ec3a184bfafcc2b92aac');
  t.equal(new Set(table).size, 256, 'no word twice');
  t.end();
});

t.test('a repeated byte is never cut below max, for any target allowed', t => {
  const threshold = cutThreshold({ min: 128, target: 128, max: 1024 });
  t.equal(threshold, 2 ** 25);
  for (const word of gearTable()) {
    let hash = 0;
    for (let i = 0; i < 32; i++) hash = ((hash << 1) + word) >>> 0;
    if (hash < threshold) t.fail(`${hash} is below ${threshold}`);
  }
  t.end();
});

t.test('bounds that the format or the kernel cannot hold are refused', t => {
  t.throws(() => cutThreshold({ min: 31, target: 8192, max: 65536 }));
  t.throws(() => cutThreshold({ min: 8192, target: 127, max: 65536 }));
  t.throws(() => cutThreshold({ min: 8192, target: 8192, max: 65537 }));
  t.throws(() => cutThreshold({ min: 8192, target: 8192, max: 8191 }));
  t.end();
});
