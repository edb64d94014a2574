import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { isIPv4, Socket } from 'node:net';
import { WardenError } from '#http/warden-client.ts';
import { describeError } from '#kernel/errors.ts';
import type { Container } from './container.ts';
import type { Ground } from './ground.ts';
import { inNetworkOf, openTcpSocket } from './syscalls.ts';

const PATIENCE_MS = 10_000;

/**
 * A connection from inside the container's network: it reaches what the container itself reaches, its own loopback included, and no
 * more. Errors: WardenError container_state, path_not_found with the reason.
 */
export async function dial(
  ground: Ground,
  container: Container,
  target: { host: string; port: number },
): Promise<Socket> {
  const { host, port } = target;
  const address = await addressOf(ground, host);
  const fd = inNetworkOf(container.mustRun(), openTcpSocket);
  // Undocumented, and needed: without it Node reads from a socket that is not connected yet.
  const options = { fd, manualStart: true };
  const socket = new Socket(options);
  const late = setTimeout(() => socket.destroy(new Error('no answer')), PATIENCE_MS);
  try {
    socket.connect(port, address);
    await once(socket, 'connect');
    socket.setNoDelay(true);
    return socket;
  } catch (error) {
    socket.destroy();
    throw new WardenError('path_not_found', `${host}:${port}: ${describeError(error)}`, { cause: error });
  } finally {
    clearTimeout(late);
  }
}

/** By the name server that containers ask. */
async function addressOf(ground: Ground, host: string): Promise<string> {
  if (isIPv4(host)) return host;
  if (host === 'localhost' || host === '') return '127.0.0.1';
  try {
    const resolver = new Resolver({ timeout: 2000, tries: 2 });
    resolver.setServers([`127.0.0.1:${ground.dns.port}`]);
    const [address] = await resolver.resolve4(host);
    if (address !== undefined) return address;
  } catch (error) {
    throw new WardenError('path_not_found', `${host}: ${describeError(error)}`, { cause: error });
  }
  throw new WardenError('path_not_found', `${host} has no IPv4 address`);
}
