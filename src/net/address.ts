// What an IP address says about who is calling. Pure.
import { isIPv4, isIPv6 } from 'node:net';

/** `HOST:PORT` for people, IPv6 in brackets, with its zone: there is no way to a link-local one without. */
export function formatAddress(host: string, port: number): string {
  const plain = isIPv6(host) ? host.replace(mapped, '') : host;
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`;
}

/** True for an address (not a name) that cannot leave this machine. */
export function isLoopbackAddress(address: string): boolean {
  const plain = unmapped(address);
  if (!isIPv6(plain)) return isIPv4(plain) && plain.startsWith('127.');
  return groups(plain).every((group, i) => group === (i === 7 ? 1 : 0));
}

/**
 * What counts as one caller: an IPv4 address, or the /64 of an IPv6 one, which is what one customer
 * is given.
 */
export function callerOf(address: string): string {
  const plain = unmapped(address);
  if (!isIPv6(plain)) return plain;
  return groups(plain)
    .slice(0, 4)
    .map(group => group.toString(16))
    .join(':');
}

/** An IPv4 address in IPv6 clothes (::ffff:1.2.3.4) as what it is, without a zone (%eth0). */
function unmapped(address: string): string {
  return address.replace(/%.*$/, '').replace(mapped, '');
}

const mapped = /^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i;

/** The eight numbers of an IPv6 address. */
function groups(address: string): readonly number[] {
  const [head = '', tail] = address.split('::');
  const parse = (text: string) =>
    text
      .split(':')
      .filter(Boolean)
      .map(part => Number.parseInt(part, 16));
  const left = parse(head);
  const right = parse(tail ?? '');
  return [
    ...left,
    ...new Array<number>(Math.max(0, 8 - left.length - right.length)).fill(0),
    ...right,
  ];
}
