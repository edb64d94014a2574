/** Messages broken in the ways that parsers are broken by. The same seed gives the same messages on every machine. */
import { Duplex } from 'node:stream';

const PIECES = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '\0',
  '\x0b',
  '\x7f',
  '\x80',
  '\xff',
  '0',
  '00',
  '+',
  '-',
  '0x',
  '1',
  '5',
  'a',
  'F',
  '"',
  '/',
  '?',
  '#',
  '*',
  '_',
  'Content-Length: 5\r\n',
  'Content-Length: 0\r\n',
  'content-length:3\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: gzip, chunked\r\n',
  'transfer-encoding:\tchunked \r\n',
  'Transfer-Encoding : chunked\r\n',
  ' folded\r\n',
  'Host: c.test\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 204 No Content\r\n',
  ' 200',
  ' 304',
  'Connection: close\r\n',
  'HTTP/1.1',
  'HTTP/1.0',
  'http://a.test',
  '0\r\n\r\n',
  '5\r\nhello\r\n',
  'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'chunked',
  'identity',
  'Content-Length',
  '\xc2\xa0',
];

/** mulberry32. */
export function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

export function mutate(seeds: readonly string[], random: (below: number) => number): string {
  let text = seeds[random(seeds.length)] ?? '';
  for (let changes = 1 + random(3); changes > 0; changes--) {
    const at = random(text.length + 1);
    const piece = PIECES[random(PIECES.length)] ?? '';
    switch (random(6)) {
      case 0:
        text = text.slice(0, at) + piece + text.slice(at);
        break;
      case 1:
        text = text.slice(0, at) + text.slice(at + 1 + random(4));
        break;
      case 2:
        text = text.slice(0, at) + String.fromCharCode(random(256)) + text.slice(at + 1);
        break;
      case 3:
        text = text.slice(0, at) + piece + text.slice(at + piece.length);
        break;
      case 4: {
        const lineStart = text.lastIndexOf('\r\n', at) + 2;
        text = text.slice(0, lineStart) + piece + text.slice(lineStart);
        break;
      }
      default: {
        const end = at + random(20);
        text = text.slice(0, end) + text.slice(at, end) + text.slice(end);
      }
    }
  }
  return text;
}

/** A connection without a network: what is pushed is what comes in; what is written is gone. */
export class Pipe extends Duplex {
  override _read(): void {
    // Only what the harness pushes is read.
  }

  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}
