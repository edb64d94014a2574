import type { Exchange } from './exchange.ts';

/** The X-Forwarded-Client-Cert line by the configured mode; empty when there is nothing to say. */
export function clientCertLines(exchange: Exchange): string {
  const { front, head, core } = exchange;
  const mode = core.config.forwarded_client_cert;
  if (mode === 'sanitize_set') return front.clientCert === '' ? '' : line(front.clientCert);
  if (head.clientCert === '') return '';
  // `forward` believes only a client that proved who it is.
  if (mode === 'forward' && front.clientCert === '') return '';
  return line(head.clientCert);
}

function line(value: string): string {
  return `X-Forwarded-Client-Cert: ${value}\r\n`;
}
