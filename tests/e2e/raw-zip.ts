import { randomUUID } from 'node:crypto';
import { constants, crc32, deflateRawSync } from 'node:zlib';

/** One entry as it is to stand in the archive, whatever an honest packer would think of it. */
export interface RawEntry {
  path: string;
  data: Buffer;
  /** Unix mode with the file's type; a readable file when absent. */
  mode?: number;
  /** For entries whose packed form is made by hand. */
  deflated?: { size: number };
}

const MADE_BY_UNIX = 0x0314;
const REGULAR = 0o100644;

/** A zip of exactly these entries: our own packer refuses what the tests of hostile archives need. Source: PKWARE APPNOTE 4.3. */
export function rawZip(entries: readonly RawEntry[]): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { path, data, mode = REGULAR, deflated } of entries) {
    const name = Buffer.from(path);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(deflated ? 8 : 0, 4);
    common.writeUInt32LE(0x5a6e6000, 6);
    common.writeUInt32LE(deflated ? 0 : crc32(data), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(deflated?.size ?? data.length, 18);
    common.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, name, data]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE((mode << 16) >>> 0, 6);
    rest.writeUInt32LE(offset, 10);
    const maker = Buffer.alloc(2);
    maker.writeUInt16LE(MADE_BY_UNIX);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02'), maker, common, rest, name]));
    bodies.push(local);
    offset += local.length;
  }
  const index = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 0, 'latin1');
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(index.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...bodies, index, end]);
}

/** Gigabytes of zeros in a few megabytes, without having to pack them: one packed block again and again. */
export function packedZeros(blocks: number): { data: Buffer; deflated: { size: number } } {
  const BLOCK = 64 * 1024 * 1024;
  const block = deflateRawSync(Buffer.alloc(BLOCK), { finishFlush: constants.Z_FULL_FLUSH, level: 1 });
  const data = Buffer.concat([...Array.from({ length: blocks }, () => block), deflateRawSync(Buffer.alloc(0))]);
  return { data, deflated: { size: blocks * BLOCK } };
}

/** The form that carries a package's bits. */
export function bitsForm(zip: Buffer): { body: Buffer; type: string } {
  const boundary = randomUUID();
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="bits"; filename="a.zip"\r\nContent-Type: application/zip\r\n\r\n`;
  const body = Buffer.concat([Buffer.from(head), zip, Buffer.from(`\r\n--${boundary}--\r\n`)]);
  return { body, type: `multipart/form-data; boundary=${boundary}` };
}
