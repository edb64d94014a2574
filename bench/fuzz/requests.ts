/** Requests as we read them, and as llhttp does. */
import { createServer, METHODS, type IncomingMessage } from 'node:http';
import { BodyReader, Framing } from '#router/body-reader.ts';
import { INCOMPLETE, MALFORMED, readRequestHead, RequestHead } from '#router/request-head.ts';
import type { Direction } from './direction.ts';
import { Pipe } from './mutations.ts';

const SEEDS = [
  'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n',
  'POST /p?q HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello',
  'POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n',
  'PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n',
  'GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n',
  'POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nabGET /next HTTP/1.0\r\nHost: a.test\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: a.test:80\r\nX-A: b\tc\r\nCookie: a=b; c=d\r\n\r\n',
  'DELETE /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nExpect: 100-continue\r\nX-Empty:\r\n\r\nGET / HTTP/1.1\r\nHost: b.test\r\n\r\n',
];
interface Message {
  method: string;
  body: string;
}

interface Reading {
  messages: Message[];
  /** The complete messages as they are sent on: chunk extensions cut out, trailers cleaned. */
  forwarded: string;
}

/** How we read it: the complete messages before the end or the first fault. */
function readOurs(text: string): Reading {
  const messages: Message[] = [];
  let forwarded = '';
  const known = new Set(METHODS);
  const bytes = Buffer.from(text, 'latin1');
  let at = 0;
  while (at < text.length) {
    const head = new RequestHead();
    const bodyAt = readRequestHead(text, at, head);
    if (bodyAt === MALFORMED) return { messages, forwarded };
    if (bodyAt === INCOMPLETE) return { messages, forwarded };
    // llhttp knows a list of methods, we take any token: of others there is nothing to compare.
    if (!known.has(head.method)) return { messages, forwarded };
    const body = new BodyReader();
    if (head.isChunked) body.begin(Framing.chunked, -1, true);
    else if (head.contentLength > 0) body.begin(Framing.length, head.contentLength, true);
    else body.begin(Framing.none, -1, true);
    let payload = '';
    at = bodyAt;
    if (!body.isDone) {
      at = body.read(bytes, bodyAt, bytes.length);
      for (let r = 0; r < body.ranges.length; r += 2) payload += text.slice(body.ranges[r], body.ranges[r + 1]);
    }
    if (body.fault !== '') return { messages, forwarded };
    if (!body.isDone) return { messages, forwarded };
    messages.push({ method: head.method, body: payload });
    forwarded +=
      `${head.method} ${head.target} HTTP/1.1\r\nHost: ${head.hostLine}\r\n${head.kept}\r\n` +
      forwardedBody(head, bytes, bodyAt);
    // Neither of us has to look at what comes behind a request that ends the connection.
    if (!head.mayKeepAlive || head.upgrade !== '') return { messages, forwarded };
  }
  return { messages, forwarded };
}

function forwardedBody(head: RequestHead, bytes: Buffer, from: number): string {
  const body = new BodyReader();
  body.begin(head.isChunked ? Framing.chunked : Framing.length, Math.max(0, head.contentLength), false);
  body.read(bytes, from, bytes.length);
  let text = '';
  for (let r = 0; r < body.ranges.length; r += 2) text += bytes.toString('latin1', body.ranges[r], body.ranges[r + 1]);
  return text + body.tail;
}

/** How llhttp reads it, through a server of node:http on a pipe. */
async function readTheirs(text: string): Promise<Message[]> {
  const messages: Message[] = [];
  server.removeAllListeners('request');
  const onRequest = (request: IncomingMessage, response: { end(): void }): void => {
    const message: Message = { method: request.method ?? '', body: '' };
    request.on('data', (chunk: Buffer) => (message.body += chunk.toString('latin1')));
    request.on('end', () => {
      messages.push(message);
      response.end();
    });
    request.on('error', () => undefined);
  };
  server.on('request', onRequest);
  const pipe = new Pipe();
  pipe.on('error', () => undefined);
  server.emit('connection', pipe);
  pipe.push(Buffer.from(text, 'latin1'));
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
  pipe.destroy();
  return messages;
}

const server = createServer({
  keepAliveTimeout: 0,
  requestTimeout: 0,
  headersTimeout: 0,
  connectionsCheckingInterval: 1 << 30,
  requireHostHeader: false,
  highWaterMark: 1 << 20,
});
server.on('clientError', () => undefined);
for (const event of ['checkContinue', 'checkExpectation']) {
  server.on(
    event,
    (request: IncomingMessage, response: { end(): void }) => void server.emit('request', request, response),
  );
}
server.on('upgrade', () => undefined);

function isSame(ours: readonly Message[], theirs: readonly Message[]): boolean {
  return ours.every((message, at) => theirs[at]?.method === message.method && theirs[at]?.body === message.body);
}

export const requests: Direction = {
  seeds: SEEDS,
  isAccepted: (text) => readOurs(text).messages.length > 0,
  async compare(text) {
    const ours = readOurs(text);
    const theirs = await readTheirs(text);
    if (isSame(ours.messages, theirs)) return 'same';
    // What llhttp refuses of it has to be gone from what is sent on.
    if (isSame(ours.messages, await readTheirs(ours.forwarded))) return 'cleaned';
    return { ours, theirs };
  },
};
