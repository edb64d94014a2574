/** TCP routes: a port each, listened on while an endpoint is registered for it. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { isReservable, tcpPortOf } from '#contracts/tcp-routes.ts';
import { describeError } from '#kernel/errors.ts';
import { tlsOptionsFor } from './backend-tls.ts';
import type { Core } from './core.ts';
import type { Endpoint } from './endpoint.ts';
import { Tunnel } from './tunnel.ts';

/** All TCP routes of this router. */
export class TcpRoutes implements AsyncDisposable {
  readonly #core: Core;
  readonly #listeners = new Map<number, TcpListener>();
  /** Connections outlive their route: who is connected may finish. */
  readonly #sockets = new Set<Socket>();

  constructor(core: Core) {
    this.#core = core;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Listens for those of the registered uris that are TCP routes and may be. */
  open(uris: readonly string[]): void {
    const { config, log, isDraining } = this.#core;
    for (const uri of uris) {
      const port = tcpPortOf(uri);
      if (port === undefined || isDraining || config.tcp === undefined) continue;
      const name = uri.toLowerCase();
      const held = this.#listeners.get(port);
      if (held !== undefined) {
        if (held.name !== name) log.warn({ uri, port, held_by: held.name }, 'tcp port has another route');
      } else if (!isReservable(config.tcp.reservable_ports, port)) {
        log.warn({ uri, port }, 'tcp port is not reservable here');
      } else this.#listeners.set(port, this.#listen(port, name));
    }
  }

  /** Stops listening where no endpoint is left. */
  closeUnused(): void {
    for (const [port, listener] of this.#listeners) {
      if (this.#core.table.lookup(listener.name, '/') !== undefined) continue;
      this.#listeners.delete(port);
      listener.stop();
    }
  }

  stopAccepting(): void {
    for (const listener of this.#listeners.values()) listener.stop();
    this.#listeners.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopAccepting();
    for (const socket of this.#sockets) socket.destroy();
    await Promise.resolve();
  }

  #listen(port: number, name: string): TcpListener {
    const listener = new TcpListener(this.#core, { port, name, sockets: this.#sockets });
    // Tried again at the next registration: the port may have become free.
    listener.onFailed = (error) => {
      this.#core.log.warn({ port, uri: name, error: describeError(error) }, 'tcp port cannot be listened on');
      if (this.#listeners.get(port) === listener) this.#listeners.delete(port);
    };
    return listener;
  }
}

/** One TCP route: connections to its port are carried to an endpoint that registered its name. */
class TcpListener {
  readonly name: string;
  onFailed: ((error: Error) => void) | undefined;
  readonly #core: Core;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  constructor(core: Core, at: { port: number; name: string; sockets: Set<Socket> }) {
    this.#core = core;
    this.name = at.name;
    this.#sockets = at.sockets;
    this.#server = createServer(
      { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true },
      (socket) => {
        this.#hold(socket);
        this.#carry(socket, []);
      },
    );
    this.#server.maxConnections = core.config.limits.max_connections;
    this.#server.on('error', (error) => this.onFailed?.(error));
    this.#server.listen({ host: core.config.host, port: at.port, reusePort: core.config.reuse_port });
  }

  /** Takes no new connections. */
  stop(): void {
    this.#server.close();
  }

  #hold(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
  }

  /** Nothing has been read of the client before an endpoint is there, so that another can be tried as often as allowed. */
  #carry(client: Socket, tried: Endpoint[]): void {
    const { config, table } = this.#core;
    const endpoint = table.lookup(this.name, '/')?.choose(config.load_balancing, {
      tried: tried.length === 0 ? undefined : tried,
      max_conns: config.limits.max_conns_per_backend,
      now_ms: this.#core.monotonic_ms(),
    });
    if (typeof endpoint !== 'object' || tried.length >= config.max_attempts || tried.includes(endpoint)) {
      client.destroy();
      return;
    }
    const backend = this.#dial(endpoint);
    this.#hold(backend);
    endpoint.active++;
    let isConnected = false;
    backend.once('timeout', () => backend.destroy());
    backend.once(endpoint.isTls ? 'secureConnect' : 'connect', () => {
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
    client.once('close', () => {
      if (!isConnected) backend.destroy();
    });
  }

  #dial(endpoint: Endpoint): Socket {
    const { config, backends } = this.#core;
    const at = { host: endpoint.host, port: endpoint.port, allowHalfOpen: true };
    const tls = { ...tlsOptionsFor(endpoint, backends.tls), ALPNProtocols: [], ...at };
    const socket = endpoint.isTls ? connectTls(tls) : connect(at);
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    socket.setTimeout(config.timeouts.dial_s * 1000);
    return socket;
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
