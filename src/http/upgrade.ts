import {
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
  type RequestOptions,
} from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export type Upgraded = { ok: true; socket: Socket } | { ok: false; response: IncomingMessage };

/** Asks for another protocol on a connection of its own; whatever came right behind the answer is in the socket again. */
export async function requestUpgrade(
  options: Omit<RequestOptions, 'headers' | 'agent'> & { headers?: OutgoingHttpHeaders },
  protocol: string,
): Promise<Upgraded> {
  const outgoing: ClientRequest = request({
    ...options,
    agent: false,
    headers: { ...options.headers, connection: 'Upgrade', upgrade: protocol },
  });
  return await new Promise((resolve, reject) => {
    outgoing.once('upgrade', (_response, socket, head) => {
      if (head.length > 0) socket.unshift(head);
      socket.setNoDelay(true);
      resolve({ ok: true, socket });
    });
    outgoing.once('response', (response) => resolve({ ok: false, response }));
    outgoing.once('error', reject);
    outgoing.end();
  });
}

/** Tells the asker that the protocol is spoken from here on. */
export function acceptUpgrade(socket: Duplex, protocol: string): void {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`);
}

/** Answers with JSON instead, and closes. */
export function refuseUpgrade(socket: Duplex, status: number, body: object): void {
  const text = JSON.stringify(body);
  const head = `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}`;
  socket.end(`${head}\r\nConnection: close\r\n\r\n${text}`);
}

/** Joins two connections until both are over; the end of one is the end of the other. */
export function splice(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.once('error', () => to.destroy());
    from.once('close', () => to.destroy());
  }
}
