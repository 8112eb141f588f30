import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CheckHash } from '../../src/blocks/check-hash.ts';
import { readParts, writeParts } from '../../src/store/parts-file.ts';
import { noise } from '../support/content.ts';

const checkHash = new CheckHash(noise(1, 32));
const options = { checkHash, sizeMax: 1000 };
const parts = [noise(2, 1000), noise(3, 0), noise(4, 77)];
const read = (path: string, changes = {}) => [...readParts(path, { ...options, ...changes })];

t.test('what was written is read, under the same secret', async t => {
  const path = join(t.testdir(), 'parts');
  t.strictSame(read(path), [], 'no file');
  t.ok(writeParts(path, parts, options));
  t.strictSame(read(path), parts);
  t.strictSame(read(path, { checkHash: new CheckHash(noise(5, 32)) }), []);
  t.strictSame(read(path, { sizeMax: 999 }), []);
  t.strictSame(fs.readdirSync(join(path, '..')), ['parts']);
});

t.test('a damaged file is read as far as it is whole', async t => {
  const path = join(t.testdir(), 'parts');
  writeParts(path, parts, options);
  const whole = fs.readFileSync(path);
  const count = (bytes: Buffer): number => {
    fs.writeFileSync(path, bytes);
    return read(path).length;
  };
  t.equal(count(whole.subarray(0, 19)), 0);
  t.equal(count(whole.subarray(0, 1019)), 0);
  t.equal(count(whole.subarray(0, 1020)), 1);
  t.equal(count(whole.subarray(0, whole.length - 1)), 2);
  const flipped = Buffer.from(whole);
  flipped[500] = (flipped[500] ?? 0) ^ 1;
  t.equal(count(flipped), 0);
  t.equal(count(Buffer.alloc(100, 0xff)), 0);
});

t.test('what cannot be written leaves the old file', async t => {
  const path = join(t.testdir(), 'parts');
  writeParts(path, parts, options);
  fs.mkdirSync(`${path}.tmp`);
  t.notOk(writeParts(path, [], options));
  t.strictSame(read(path), parts);
});
