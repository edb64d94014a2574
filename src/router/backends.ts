import type { Backend, BackendUser } from './backend.ts';
import { BackendConnection, type BackendOptions } from './backend-connection.ts';
import { Http2Backend } from './http2-backend.ts';
import { type BackendTls, loadBackendTls } from './backend-tls.ts';
import type { RouterConfig } from './config.ts';
import type { Log } from '#kernel/log.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Sweeper } from './sweeper.ts';
import type { Endpoint } from './endpoint.ts';

/** Lends connections to endpoints: one that is quiet if there is any, the last used first, else a new one. */
export class Backends {
  readonly #options: BackendOptions;
  readonly #maxIdle: number;
  #isClosed = false;

  static create(config: RouterConfig, parts: { sweeper: Sweeper; clock: Clock; log: Log }): Backends {
    const { timeouts, limits } = config;
    const options: BackendOptions = {
      sweeper: parts.sweeper,
      dial_ms: timeouts.dial_s * 1000,
      tls_handshake_ms: timeouts.tls_handshake_s * 1000,
      idle_ms: timeouts.backend_idle_s * 1000,
      probe_ms: timeouts.backend_keep_alive_probe_s * 1000,
      response_head_bytes: limits.response_head_bytes,
      tls: loadBackendTls(config.backend_tls),
      now_ms: () => parts.clock.monotonic(),
      log: parts.log,
    };
    return new Backends(options, limits.max_idle_conns_per_backend);
  }

  private constructor(options: BackendOptions, max_idle_conns_per_backend: number) {
    this.#options = options;
    this.#maxIdle = max_idle_conns_per_backend;
  }

  get tls(): BackendTls {
    return this.#options.tls;
  }

  /** Calls `onBackendReady` at once for a kept connection, later for a new one. `isFresh` asks for a new one. */
  acquire(endpoint: Endpoint, user: BackendUser, isFresh: boolean): Backend {
    if (endpoint.isHttp2) return new Http2Backend(endpoint, user, this.#options);
    const { idle } = endpoint.use;
    for (let kept = isFresh ? undefined : idle.pop(); kept !== undefined; kept = idle.pop()) {
      if (!kept.isUsable) continue;
      kept.take(user);
      return kept;
    }
    return new BackendConnection(endpoint, user, this.#options);
  }

  /** Takes back a connection whose exchange is complete, to keep it when it is quiet. */
  release(connection: Backend, mayReuse: boolean): void {
    if (!(connection instanceof BackendConnection)) {
      connection.release();
      return;
    }
    const endpoint = connection.endpoint;
    const { idle } = endpoint.use;
    const isKept =
      mayReuse &&
      !this.#isClosed &&
      !endpoint.isGone &&
      endpoint.routes > 0 &&
      idle.length < this.#maxIdle &&
      connection.release();
    if (isKept) idle.push(connection);
    else connection.destroy();
  }

  /** Closes what is kept for an endpoint that no route leads to any more. */
  forget(endpoint: Endpoint): void {
    const use = endpoint.usedSoFar;
    if (use === undefined) return;
    for (const connection of use.idle.splice(0)) connection.destroy();
    use.http2?.destroy();
  }

  close(endpoints: Iterable<Endpoint>): void {
    this.#isClosed = true;
    for (const endpoint of endpoints) this.forget(endpoint);
  }
}
