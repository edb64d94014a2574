/** IPv4 networks and ranges as unsigned numbers, both ends included. */
export interface AddressRange {
  first: number;
  last: number;
}

export function parseAddress(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}

export function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

/** `10.0.0.0/8` as a range; undefined unless it is a network. Host bits are dropped. */
export function parseCidr(text: string): AddressRange | undefined {
  const [address = '', bits = '', ...rest] = text.split('/');
  const base = parseAddress(address);
  if (base === undefined || rest.length > 0 || !/^\d{1,2}$/.test(bits) || Number(bits) > 32) return undefined;
  const size = 2 ** (32 - Number(bits));
  const first = Math.floor(base / size) * size;
  return { first, last: first + size - 1 };
}

/** A destination as security groups write it: an address, a network, or `first-last`. */
export function parseDestination(text: string): AddressRange | undefined {
  if (text.includes('/')) return parseCidr(text);
  const [from = '', to, ...rest] = text.split('-').map((part) => part.trim());
  const first = parseAddress(from);
  const last = to === undefined ? first : parseAddress(to);
  if (first === undefined || last === undefined || rest.length > 0 || last < first) return undefined;
  return { first, last };
}

export function isWithin(inner: AddressRange, outer: AddressRange): boolean {
  return inner.first >= outer.first && inner.last <= outer.last;
}
