import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { ATTACH_PROTOCOL, DIAL_PROTOCOL } from '#contracts/attach.ts';
import { WARDEN_ERRORS } from '#contracts/warden.ts';
import { acceptUpgrade, refuseUpgrade, splice } from '#http/upgrade.ts';
import { WardenError } from '#http/warden-client.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Backend } from './backend.ts';

/** The verbs that leave HTTP: contracts/attach.ts. */
export async function serveUpgrade(
  backend: Backend,
  log: Log,
  { request, socket, head }: { request: IncomingMessage; socket: Socket; head: Buffer },
): Promise<void> {
  socket.on('error', () => socket.destroy());
  if (head.length > 0) socket.unshift(head);
  try {
    const url = new URL(request.url ?? '/', 'http://warden');
    const [, collection, handle = '', verb] = url.pathname.split('/').map(decodeURIComponent);
    const container = backend.find(handle);
    const protocol = request.headers.upgrade;
    if (collection === 'containers' && verb === 'attach' && protocol === ATTACH_PROTOCOL) {
      container.mustRun();
      acceptUpgrade(socket, ATTACH_PROTOCOL);
      await container.attach(socket);
    } else if (collection === 'containers' && verb === 'dial' && protocol === DIAL_PROTOCOL) {
      const host = url.searchParams.get('host') ?? '';
      const port = Number(url.searchParams.get('port'));
      if (!(port >= 1 && port <= 65_535)) throw new WardenError('invalid_request', 'port is none');
      const other = await container.dial({ host, port });
      acceptUpgrade(socket, DIAL_PROTOCOL);
      splice(socket, other);
    } else {
      throw new WardenError('invalid_request', `${request.method} ${request.url} is no upgrade that warden knows`);
    }
  } catch (error) {
    const { code, message } =
      error instanceof WardenError ? error : new WardenError('internal', 'warden failed; its log says why');
    if (code === 'internal') log.error({ path: request.url, error: describeError(error) }, 'upgrade failed');
    refuseUpgrade(socket, WARDEN_ERRORS[code], { error: { code, message } });
  }
}
