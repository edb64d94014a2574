import type { Endpoint } from './endpoint.ts';

export type LoadBalancing = 'round-robin' | 'least-connection';

/** Why no endpoint could be chosen. */
export type NoChoice = 'no_endpoints' | 'connection_limit';

export interface Choice {
  /** Identity of an instance wanted by cookie; another is chosen when it is gone. */
  preferred?: string;
  /** Tried already in this request. */
  tried?: readonly Endpoint[] | undefined;
  max_conns: number;
  now_ms: number;
}

/** An endpoint as a route has it. Times are s of the table's clock. */
export interface Member {
  endpoint: Endpoint;
  seenAt_s: number;
  ttl_s: number;
  /** `endpoint_updated_at_ns`; 0 when it was not said. */
  updatedAt_ns: number;
}

const NOBODY: readonly Member[] = [];

/** A registered uri and the endpoints it leads to. */
export class Route {
  /** `host` or `host/path`, lower case. */
  readonly uri: string;
  /** Made anew at each change: most routes have one member, and an array that grows makes room for many. */
  members: readonly Member[] = NOBODY;
  loadBalancing: LoadBalancing | undefined;
  route_service_url = '';
  /** Table seconds since when it has been empty; only kept when an empty pool may stay. */
  emptySince_s = -1;
  #next = 0;

  constructor(uri: string) {
    this.uri = uri;
  }

  /** `/` or the context path. */
  get path(): string {
    const slash = this.uri.indexOf('/');
    return slash < 0 ? '/' : this.uri.slice(slash);
  }

  get endpoints(): Endpoint[] {
    return this.members.map(({ endpoint }) => endpoint);
  }

  choose(loadBalancing: LoadBalancing, choice: Choice): Endpoint | NoChoice {
    const count = this.members.length;
    if (count === 1 && choice.tried === undefined) {
      // An instance that has no other beside it is never out of rotation.
      const only = this.members[0]?.endpoint;
      if (only !== undefined && !only.isGone) return isFull(only, choice.max_conns) ? 'connection_limit' : only;
    }
    if (count === 0) return 'no_endpoints';
    if (choice.preferred !== undefined) {
      const preferred = this.find(choice.preferred);
      if (preferred !== undefined && isUsable(preferred, choice) && !choice.tried?.includes(preferred))
        return preferred;
    }
    const algorithm = this.loadBalancing ?? loadBalancing;
    const chosen = algorithm === 'round-robin' ? this.#inTurn(choice) : this.#leastLoaded(choice);
    if (chosen !== undefined) return chosen;
    return this.#secondChoice(choice);
  }

  /** The endpoint with this identity, or undefined. */
  find(identity: string): Endpoint | undefined {
    return this.members.find(({ endpoint }) => endpoint.identity === identity)?.endpoint;
  }

  #inTurn(choice: Choice): Endpoint | undefined {
    const count = this.members.length;
    for (let tries = 0; tries < count; tries++) {
      if (this.#next >= count) this.#next = 0;
      const endpoint = this.members[this.#next++]?.endpoint;
      if (endpoint !== undefined && isUsable(endpoint, choice) && choice.tried?.includes(endpoint) !== true)
        return endpoint;
    }
    return undefined;
  }

  #leastLoaded(choice: Choice): Endpoint | undefined {
    let best: Endpoint | undefined;
    const count = this.members.length;
    // A moving start spreads requests over equals.
    const start = this.#next++ % count;
    for (let offset = 0; offset < count; offset++) {
      const endpoint = this.members[(start + offset) % count]?.endpoint;
      if (endpoint === undefined || !isUsable(endpoint, choice) || choice.tried?.includes(endpoint) === true) continue;
      if (best === undefined || endpoint.active < best.active) best = endpoint;
    }
    if (this.#next > 1e9) this.#next = 0;
    return best;
  }

  /** When all are out of rotation the marks say nothing any more: they are cleared and all are tried. */
  #secondChoice(choice: Choice): Endpoint | NoChoice {
    const alive = this.endpoints.filter((endpoint) => !endpoint.isGone);
    if (alive.length === 0) return 'no_endpoints';
    const withRoom = alive.filter((endpoint) => !isFull(endpoint, choice.max_conns));
    if (withRoom.length === 0) return 'connection_limit';
    const fresh = withRoom.filter((endpoint) => choice.tried?.includes(endpoint) !== true);
    if (fresh.length === 0) return withRoom[this.#next++ % withRoom.length] ?? 'no_endpoints';
    for (const endpoint of alive) endpoint.failedUntil_ms = 0;
    return this.#inTurn(choice) ?? 'no_endpoints';
  }
}

function isFull(endpoint: Endpoint, max_conns: number): boolean {
  return max_conns > 0 && endpoint.active >= max_conns;
}

function isUsable(endpoint: Endpoint, choice: Choice): boolean {
  return !endpoint.isGone && endpoint.failedUntil_ms <= choice.now_ms && !isFull(endpoint, choice.max_conns);
}
