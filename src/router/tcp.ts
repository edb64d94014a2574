import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { AppError } from '#kernel/errors.ts';
import type { Core } from './core.ts';
import type { Endpoint } from './endpoint.ts';
import { Tunnel } from './tunnel.ts';

/** One TCP route: connections to its port are carried to an endpoint that registered its name. */
export class TcpListener implements AsyncDisposable {
  readonly #core: Core;
  readonly #name: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(core: Core, name: string) {
    this.#core = core;
    this.#name = name;
    this.#server = createServer(
      { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true },
      (socket) => {
        this.#hold(socket);
        this.#carry(socket, []);
      },
    );
    this.#server.maxConnections = core.config.limits.max_connections;
  }

  /** Errors: AppError `listen_failed`. */
  static async start(core: Core, at: { port: number; name: string }): Promise<TcpListener> {
    const listener = new TcpListener(core, at.name);
    await new Promise<void>((resolve, reject) => {
      listener.#server.once('error', (error) =>
        reject(new AppError('listen_failed', `cannot listen on ${core.config.host}:${at.port}`, { cause: error })),
      );
      listener.#server.listen({ host: core.config.host, port: at.port, reusePort: core.config.reuse_port }, resolve);
    });
    return listener;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  stopAccepting(): void {
    this.#server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) =>
      this.#server.listening ? this.#server.close(() => resolve()) : resolve(),
    );
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #hold(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
  }

  /** Nothing has been read of the client before an endpoint is there, so that another can be tried as often as allowed. */
  #carry(client: Socket, tried: Endpoint[]): void {
    const { config, table } = this.#core;
    const endpoint = table.lookup(this.#name.toLowerCase(), '/')?.choose(config.load_balancing, {
      tried: tried.length === 0 ? undefined : tried,
      max_conns: config.limits.max_conns_per_backend,
      now_ms: this.#core.monotonic_ms(),
    });
    if (typeof endpoint !== 'object' || tried.length >= config.max_attempts || tried.includes(endpoint)) {
      client.destroy();
      return;
    }
    const backend = connect({
      host: endpoint.host,
      port: endpoint.port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      timeout: config.timeouts.dial_s * 1000,
    });
    this.#hold(backend);
    endpoint.active++;
    let isConnected = false;
    backend.once('timeout', () => backend.destroy());
    backend.once('connect', () => {
      isConnected = true;
      backend.setTimeout(0);
      join(client, backend);
    });
    backend.once('close', () => {
      endpoint.active--;
      if (isConnected || client.destroyed) return;
      endpoint.failedUntil_ms = this.#core.monotonic_ms() + config.failed_endpoint_rest_s * 1000;
      this.#carry(client, [...tried, endpoint]);
    });
  }
}

function join(client: Socket, backend: Socket): void {
  const tunnel = new Tunnel(client, backend, () => {
    client.destroySoon();
    backend.destroySoon();
  });
  client.on('data', (bytes: Buffer) => tunnel.fromClient(bytes));
  backend.on('data', (bytes: Buffer) => tunnel.fromBackend(bytes, bytes.length));
  client.on('drain', () => tunnel.clientDrained());
  backend.on('drain', () => tunnel.backendDrained());
  client.on('end', () => tunnel.clientEnded());
  backend.on('end', () => tunnel.backendEnded());
  client.on('close', () => tunnel.broke());
  backend.on('close', () => tunnel.broke());
  client.resume();
}
