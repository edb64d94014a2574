/** As much of RFC 1035 (and of RFC 6891, EDNS) as it takes to read one question and to answer it with addresses. */
export interface Question {
  id: number;
  /** lower case, without the last dot; empty for the root */
  name: string;
  type: number;
  /** the question as it came, to be given back */
  bytes: Buffer;
  isRecursionDesired: boolean;
  /** most bytes that the asker takes in one datagram; undefined when it does not speak EDNS */
  udp_size: number | undefined;
}

export const TYPE_A = 1;
const TYPE_OPT = 41;
const CLASS_IN = 1;
const HEADER = 12;
export const PLAIN_UDP_SIZE = 512;
const OUR_UDP_SIZE = 1232;

export const RCODE = { ok: 0, format_error: 1, server_failure: 2, no_such_name: 3, not_implemented: 4 } as const;

/** A message that is no question of one name; `rcode` is what to answer, if there is an id to answer to. */
export class NotAQuestion extends Error {
  readonly rcode: number;

  constructor(rcode: number) {
    super('not a question of one name');
    this.rcode = rcode;
  }
}

/** Errors: NotAQuestion. */
export function readQuestion(message: Buffer): Question {
  if (message.length < HEADER) throw new NotAQuestion(RCODE.format_error);
  const flags = message.readUInt16BE(2);
  const isResponse = (flags & 0x8000) !== 0;
  const opcode = (flags >> 11) & 0xf;
  if (isResponse || message.readUInt16BE(4) !== 1) throw new NotAQuestion(RCODE.format_error);
  if (opcode !== 0) throw new NotAQuestion(RCODE.not_implemented);
  const { name, end } = readName(message, HEADER);
  if (end + 4 > message.length) throw new NotAQuestion(RCODE.format_error);
  return {
    id: message.readUInt16BE(0),
    name,
    type: message.readUInt16BE(end),
    bytes: message.subarray(HEADER, end + 4),
    isRecursionDesired: (flags & 0x0100) !== 0,
    udp_size: udpSize(message, end + 4),
  };
}

function readName(message: Buffer, from: number): { name: string; end: number } {
  const labels: string[] = [];
  let at = from;
  for (;;) {
    const length = message[at];
    // A question's name is never compressed.
    if (length === undefined || length > 63 || at + 1 + length > message.length) {
      throw new NotAQuestion(RCODE.format_error);
    }
    at += 1;
    if (length === 0) return { name: labels.join('.').toLowerCase(), end: at };
    labels.push(message.toString('latin1', at, at + length));
    at += length;
    if (at - from > 254) throw new NotAQuestion(RCODE.format_error);
  }
}

/** Askers that speak EDNS say so by one record without a name, behind the question. */
function udpSize(message: Buffer, at: number): number | undefined {
  const hasOnlyAdditional = message.readUInt16BE(6) === 0 && message.readUInt16BE(8) === 0;
  if (!hasOnlyAdditional || message.readUInt16BE(10) === 0 || at + 11 > message.length) return undefined;
  if (message[at] !== 0 || message.readUInt16BE(at + 1) !== TYPE_OPT) return undefined;
  return Math.max(PLAIN_UDP_SIZE, message.readUInt16BE(at + 3));
}

/**
 * The answer of an authority, with as many of the addresses as fit into `max_bytes`: any of them will do. It is not to be kept,
 * since instances come and go.
 */
export function answer(
  question: Question,
  options: { rcode: number; addresses: readonly string[]; max_bytes: number },
): Buffer {
  const { rcode, addresses, max_bytes } = options;
  const edns = question.udp_size === undefined ? Buffer.alloc(0) : optRecord();
  const room = Math.floor((max_bytes - HEADER - question.bytes.length - edns.length) / RECORD_BYTES);
  const records = addresses.slice(0, Math.max(0, room)).map(addressRecord);
  const counts = { answers: records.length, additional: edns.length > 0 ? 1 : 0 };
  return Buffer.concat([header(question, rcode, counts), question.bytes, ...records, edns]);
}

/** For what can't be read: the id is all that is given back. */
export function refusal(message: Buffer, rcode: number): Buffer | undefined {
  if (message.length < 2) return undefined;
  const reply = Buffer.alloc(HEADER);
  message.copy(reply, 0, 0, 2);
  reply.writeUInt16BE(0x8000 | rcode, 2);
  return reply;
}

function header(question: Question, rcode: number, counts: { answers: number; additional: number }): Buffer {
  const head = Buffer.alloc(HEADER);
  const RESPONSE_AUTHORITATIVE_RECURSION_AVAILABLE = 0x8000 | 0x0400 | 0x0080;
  head.writeUInt16BE(question.id, 0);
  head.writeUInt16BE(
    RESPONSE_AUTHORITATIVE_RECURSION_AVAILABLE | (question.isRecursionDesired ? 0x0100 : 0) | rcode,
    2,
  );
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(counts.answers, 6);
  head.writeUInt16BE(counts.additional, 10);
  return head;
}

const RECORD_BYTES = 16;

function addressRecord(address: string): Buffer {
  const record = Buffer.alloc(RECORD_BYTES);
  record.writeUInt16BE(0xc000 | HEADER, 0); // the name in the question
  record.writeUInt16BE(TYPE_A, 2);
  record.writeUInt16BE(CLASS_IN, 4);
  record.writeUInt16BE(4, 10); // no time to live before it, the length of the address here
  for (const [index, part] of address.split('.').entries()) record[12 + index] = Number(part);
  return record;
}

function optRecord(): Buffer {
  const record = Buffer.alloc(11);
  record.writeUInt16BE(TYPE_OPT, 1);
  record.writeUInt16BE(OUR_UDP_SIZE, 3);
  return record;
}
