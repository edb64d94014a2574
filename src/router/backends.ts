import { BackendConnection, type BackendOptions, type BackendUser } from './backend-connection.ts';
import type { Endpoint } from './endpoint.ts';

/** Lends connections to endpoints: one that is quiet if there is any, the last used first, else a new one. */
export class Backends {
  readonly #options: BackendOptions;
  readonly #maxIdle: number;
  #isClosed = false;

  constructor(options: BackendOptions, max_idle_conns_per_backend: number) {
    this.#options = options;
    this.#maxIdle = max_idle_conns_per_backend;
  }

  /** Calls `onBackendReady` at once for a kept connection, later for a new one. `isFresh` asks for a new one. */
  acquire(endpoint: Endpoint, user: BackendUser, isFresh: boolean): BackendConnection {
    for (let kept = isFresh ? undefined : endpoint.idle?.pop(); kept !== undefined; kept = endpoint.idle?.pop()) {
      if (!kept.isUsable) continue;
      kept.take(user);
      return kept;
    }
    return new BackendConnection(endpoint, user, this.#options);
  }

  /** Takes back a connection whose exchange is complete, to keep it when it is quiet. */
  release(connection: BackendConnection, mayReuse: boolean): void {
    const endpoint = connection.endpoint;
    const idle = (endpoint.idle ??= []);
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
    const idle = endpoint.idle;
    endpoint.idle = undefined;
    for (const connection of idle ?? []) connection.destroy();
  }

  close(endpoints: Iterable<Endpoint>): void {
    this.#isClosed = true;
    for (const endpoint of endpoints) this.forget(endpoint);
  }
}
