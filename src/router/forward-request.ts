import type { Exchange } from './exchange.ts';

/** The head that goes to the backend: what the client said, without what belongs to its own hop, with what the router knows. */
export function requestHeadText(exchange: Exchange, headerLines: string): string {
  const head = exchange.head;
  const remote = exchange.front.remoteAddress;
  const forwardedFor = head.forwardedFor === '' ? remote : `${head.forwardedFor}, ${remote}`;
  const start = head.requestStart === '' ? `X-Request-Start: ${exchange.startedAt_ms}\r\n` : '';
  const connection = head.upgrade === '' ? '' : `Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`;
  const te = head.acceptsTrailers ? 'TE: trailers\r\nConnection: TE\r\n' : '';
  return (
    `${head.method} ${exchange.target} HTTP/1.1\r\nHost: ${exchange.hostLine}\r\n${head.kept}` +
    `${headerLines}X-Forwarded-For: ${forwardedFor}\r\nX-Forwarded-Proto: ${exchange.forwardedProto}\r\n` +
    `X-Vcap-Request-Id: ${exchange.requestId}\r\n${start}${exchange.extraLines}${connection}${te}\r\n`
  );
}
