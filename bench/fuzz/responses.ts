/** Responses as we read them, and as llhttp does. */
import { Agent, request, type IncomingMessage } from 'node:http';
import { BodyReader, Framing } from '#router/body-reader.ts';
import { INCOMPLETE, MALFORMED } from '#router/request-head.ts';
import { readResponseHead, ResponseHead } from '#router/response-head.ts';
import type { Direction } from './direction.ts';
import { Pipe } from './mutations.ts';

const SEEDS = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n',
  'HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n',
  'HTTP/1.1 200 OK\r\nConnection: close\r\nX-A: b\tc\r\n\r\nuntil the end',
  'HTTP/1.0 200 OK\r\n\r\nuntil the end',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\nSet-Cookie: a=b; Path=/\r\n\r\nok',
  'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: "x"\r\n\r\n',
  'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: keep-alive\r\nX-Empty:\r\n\r\n',
];

interface Reading {
  status: number;
  body: string;
  /** The response as it is sent on: chunk extensions cut out, trailers cleaned. */
  forwarded: string;
}

/** How we read what a backend said before it closed: the whole response to a GET, or undefined when we take it for none. */
function readOurs(text: string): Reading | undefined {
  const bytes = Buffer.from(text, 'latin1');
  let head = new ResponseHead();
  let bodyAt = 0;
  do {
    head = new ResponseHead();
    bodyAt = readResponseHead(text, bodyAt, head);
    if (bodyAt === INCOMPLETE || bodyAt === MALFORMED) return undefined;
    // What comes after an upgrade is not HTTP.
    if (head.status === 101) return undefined;
  } while (head.status < 200);
  const [payload, framed] = [true, false].map((isPayloadOnly) => {
    const body = bodyOf(head, isPayloadOnly);
    body.read(bytes, bodyAt, bytes.length);
    const isWhole = body.fault === '' && (body.isDone || body.framing === Framing.untilClose);
    let passed = '';
    for (let r = 0; r < body.ranges.length; r += 2) passed += text.slice(body.ranges[r], body.ranges[r + 1]);
    return isWhole ? passed + body.tail : undefined;
  });
  if (payload === undefined || framed === undefined) return undefined;
  const forwarded = `HTTP/1.1 ${head.statusText}\r\n${head.kept}\r\n${framed}`;
  return { status: head.status, body: payload, forwarded };
}

/** As ResponseRelay frames the response to a GET. */
function bodyOf(head: ResponseHead, isPayloadOnly: boolean): BodyReader {
  const body = new BodyReader();
  if (head.status === 204 || head.status === 304) body.begin(Framing.none, -1, isPayloadOnly);
  else if (head.isChunked) body.begin(Framing.chunked, -1, isPayloadOnly);
  else if (head.contentLength >= 0) body.begin(Framing.length, head.contentLength, isPayloadOnly);
  else body.begin(Framing.untilClose, -1, isPayloadOnly);
  return body;
}

class PipeAgent extends Agent {
  readonly #pipe: Pipe;

  constructor(pipe: Pipe) {
    super();
    this.#pipe = pipe;
  }

  override createConnection(): Pipe {
    return this.#pipe;
  }
}

/** How llhttp reads it, through a client of node:http on a pipe; undefined when it refuses it or misses a part. */
async function readTheirs(text: string): Promise<{ status: number; body: string } | undefined> {
  const pipe = new Pipe();
  return await new Promise((resolve) => {
    const client = request({ method: 'GET', host: 'a.test', agent: new PipeAgent(pipe) });
    client.on('error', () => resolve(undefined));
    client.on('close', () => resolve(undefined));
    client.on('response', (response: IncomingMessage) => {
      let body = '';
      response.on('data', (bytes: Buffer) => (body += bytes.toString('latin1')));
      response.on('error', () => resolve(undefined));
      response.on('end', () => resolve(response.complete ? { status: response.statusCode ?? 0, body } : undefined));
    });
    client.end();
    pipe.on('error', () => undefined);
    setImmediate(() => {
      pipe.push(Buffer.from(text, 'latin1'));
      pipe.push(null);
    });
  });
}

function isSame(ours: Reading | undefined, theirs: { status: number; body: string } | undefined): boolean {
  return ours === undefined || (ours.status === theirs?.status && ours.body === theirs.body);
}

export const responses: Direction = {
  seeds: SEEDS,
  isAccepted: (text) => readOurs(text) !== undefined,
  async compare(text) {
    const ours = readOurs(text);
    const theirs = await readTheirs(text);
    if (isSame(ours, theirs)) return 'same';
    if (ours !== undefined && isSame(ours, await readTheirs(ours.forwarded))) return 'cleaned';
    return { ours, theirs };
  },
};
