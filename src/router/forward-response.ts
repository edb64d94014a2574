import type { Exchange } from './exchange.ts';
import { withoutFields } from './request-head.ts';
import type { ResponseHead } from './response-head.ts';
import { stickyLines } from './sticky.ts';

const FRAMING = new Set(['content-length', 'transfer-encoding']);
const CODING = new Set(['transfer-encoding']);
const TRAILER = new Set(['transfer-encoding', 'trailer']);

/** How the body goes to the client, which decides the fields that frame it. */
export type BodyForm = 'as_is' | 'none' | 'chunk' | 'until_close' | 'tunnel';

/** The head that goes to an HTTP/1.x client. `isLast` says that the connection closes after it. */
export function responseHeadText(exchange: Exchange, head: ResponseHead, form: BodyForm, isLast: boolean): string {
  let kept = head.kept;
  let framing = '';
  if (form === 'chunk') framing = 'Transfer-Encoding: chunked\r\n';
  else if (form === 'until_close' && head.isChunked) kept = withoutFields(kept, TRAILER);
  else if (form === 'none' && (head.status === 204 || head.status < 200)) kept = withoutFields(kept, FRAMING);
  else if (form === 'none' && head.isChunked && exchange.head.isHttp10) kept = withoutFields(kept, CODING);
  if (head.isBodyless && form === 'as_is') framing = 'Content-Length: 0\r\n';
  let connection = '';
  if (form === 'tunnel') connection = `Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`;
  else if (isLast) connection = 'Connection: close\r\n';
  else if (exchange.head.isHttp10) connection = 'Connection: keep-alive\r\n';
  return `HTTP/1.1 ${head.statusText}\r\n${kept}${framing}${connection}${addedLines(exchange, head)}\r\n`;
}

/** Field lines that the router adds to a response, on whatever protocol it goes out. */
export function addedLines(exchange: Exchange, head: ResponseHead): string {
  const requestId = head.hasRequestId ? '' : `X-Vcap-Request-Id: ${exchange.requestId}\r\n`;
  const sticky = exchange.mayStick ? stickyLines(exchange, head) : '';
  const debug = exchange.isDebugged ? debugLines(exchange) : '';
  return requestId + sticky + debug;
}

function debugLines(exchange: Exchange): string {
  const address = exchange.endpoint?.address ?? '';
  return `X-Vcap-Router: ${exchange.core.hostAddress}\r\nX-Vcap-Backend: ${address}\r\nX-Cf-RouteEndpoint: ${address}\r\n`;
}
