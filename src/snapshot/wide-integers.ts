// 64-bit integers in a Buffer, big endian. Buffer's own methods take the bigint apart with bigint
// arithmetic, which is eight times as slow; an entry has four such fields and is packed a dozen times.

const value = new BigUint64Array(1);
const signed = new BigInt64Array(value.buffer);
const bytes = new Uint8Array(value.buffer);
/** Where the byte of weight 2^(8 i) lies in `bytes`. */
const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const flip = isLittleEndian ? 7 : 0;

/** The value modulo 2^64, signed or not. */
export function writeInt64(target: Buffer, at: number, integer: bigint): void {
  checkPlace(target, at);
  value[0] = integer;
  for (let i = 0; i < 8; i++) target[at + i] = bytes[i ^ flip] as number;
}

export function readUint64(source: Buffer, at: number): bigint {
  load(source, at);
  return value[0] as bigint;
}

export function readInt64(source: Buffer, at: number): bigint {
  load(source, at);
  return signed[0] as bigint;
}

function load(source: Buffer, at: number): void {
  checkPlace(source, at);
  for (let i = 0; i < 8; i++) bytes[i ^ flip] = source[at + i] as number;
}

function checkPlace({ length }: Buffer, at: number): void {
  if (at < 0 || at + 8 > length) throw new RangeError(`8 bytes at ${at} of ${length}`);
}
