import type { Socket } from 'node:net';

/** Who is at the other end; an IPv4 address in its own form even on a socket that takes both. */
export function remoteOf(socket: Socket): { remoteAddress: string; remoteText: string } {
  const address = socket.remoteAddress ?? '';
  const remoteAddress = address.startsWith('::ffff:') ? address.slice(7) : address;
  return { remoteAddress, remoteText: `${remoteAddress}:${socket.remotePort ?? 0}` };
}
