// Seeded file contents and edits that look like what files go through.
import { pick, randomBytes, randomInteger, seededRandom } from './random.ts';

/** `size` bytes made of stretches of noise, text, one repeated byte, short periods and zeroes. */
export function sampleContent(random: () => number, size: number): Buffer {
  const parts: Buffer[] = [];
  for (let left = size; left > 0; ) {
    const length = Math.min(left, 1 + randomInteger(random, Math.max(1, size / 2)));
    parts.push(stretch(random, length));
    left -= length;
  }
  return Buffer.concat(parts);
}

function stretch(random: () => number, length: number): Buffer {
  switch (pick(random, ['noise', 'noise', 'text', 'constant', 'period', 'zero'] as const)) {
    case 'noise':
      return randomBytes(random, length);
    case 'text':
      return randomBytes(random, length).map(byte => 0x61 + (byte % 5)) as Buffer;
    case 'constant':
      return Buffer.alloc(length, randomInteger(random, 256));
    case 'period':
      return Buffer.alloc(length, randomBytes(random, 1 + randomInteger(random, 40)));
    case 'zero':
      return Buffer.alloc(length);
  }
}

/** `content` after one edit: in place, inserted, removed, moved, appended, cut off, zeroed. */
export function edit(random: () => number, content: Buffer): Buffer {
  const at = randomInteger(random, content.length + 1);
  const to = at + randomInteger(random, Math.min(content.length - at, 3000) + 1);
  const head = content.subarray(0, at);
  const middle = content.subarray(at, to);
  const tail = content.subarray(to);
  const fresh = sampleContent(random, randomInteger(random, 2000));
  const kinds = ['byte', 'insert', 'remove', 'replace', 'move', 'repeat', 'zero', 'append', 'cut'];
  switch (pick(random, kinds)) {
    case 'byte': {
      const copy = Buffer.from(content);
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 + randomInteger(random, 255));
      return copy;
    }
    case 'insert':
      return Buffer.concat([head, fresh, middle, tail]);
    case 'remove':
      return Buffer.concat([head, tail]);
    case 'replace':
      return Buffer.concat([head, fresh, tail]);
    case 'move':
      return Buffer.concat([head, tail, middle]);
    case 'repeat':
      return Buffer.concat([head, middle, middle, tail]);
    case 'zero':
      return Buffer.concat([head, Buffer.alloc(middle.length), tail]);
    case 'append':
      return Buffer.concat([content, fresh]);
    default:
      return Buffer.from(head);
  }
}

/** The same noise for the same seed. */
export function noise(seed: number, size: number): Buffer {
  return randomBytes(seededRandom(seed), size);
}
