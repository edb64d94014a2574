/** The few parts of ASN.1's distinguished encoding rules that certificates are made of. Source: X.690. */

const tlv = (tag: number, content: Buffer): Buffer =>
  Buffer.concat([Buffer.from([tag]), length(content.length), content]);

function length(bytes: number): Buffer {
  if (bytes < 0x80) return Buffer.from([bytes]);
  const digits = Buffer.from(bytes.toString(16).padStart(bytes > 0xff_ff ? 6 : bytes > 0xff ? 4 : 2, '0'), 'hex');
  return Buffer.concat([Buffer.from([0x80 | digits.length]), digits]);
}

export const sequence = (...parts: Buffer[]): Buffer => tlv(0x30, Buffer.concat(parts));
export const setOf = (...parts: Buffer[]): Buffer => tlv(0x31, Buffer.concat(parts));
/** A constructed field with a number of its own. */
export const field = (number: number, content: Buffer): Buffer => tlv(0xa0 | number, content);
/** A plain value with a number of its own instead of its type. */
export const tagged = (number: number, content: Buffer): Buffer => tlv(0x80 | number, content);
export const octets = (content: Buffer): Buffer => tlv(0x04, content);
export const bits = (content: Buffer, unused = 0): Buffer => tlv(0x03, Buffer.concat([Buffer.from([unused]), content]));
export const text = (value: string): Buffer => tlv(0x0c, Buffer.from(value, 'utf8'));
export const TRUE = tlv(0x01, Buffer.from([0xff]));

/** A positive number; its first bit is its sign. */
export function integer(value: Buffer): Buffer {
  return tlv(0x02, (value[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), value]) : value);
}

/** To the second, in years 1950 to 2049. */
export function time(date: Date): Buffer {
  return tlv(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replaceAll(/[-:T]/g, '')}Z`));
}

/** "1.2.840.10045" */
export function oid(name: string): Buffer {
  const [first = 0, second = 0, ...rest] = name.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let high = part >>> 7; high > 0; high >>>= 7) groups.unshift((high & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tlv(0x06, Buffer.from(bytes));
}

/** The parts of a sequence, each with its tag and length. */
export function partsOf(der: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  const { begin, end } = extent(der, 0);
  for (let at = begin; at < end;) {
    const next = extent(der, at).end;
    parts.push(der.subarray(at, next));
    at = next;
  }
  return parts;
}

function extent(der: Buffer, at: number): { begin: number; end: number } {
  const first = der[at + 1] ?? 0;
  if (first < 0x80) return { begin: at + 2, end: at + 2 + first };
  const digits = first & 0x7f;
  const begin = at + 2 + digits;
  return { begin, end: begin + der.readUIntBE(at + 2, digits) };
}
