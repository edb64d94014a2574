import type { Endpoint } from './endpoint.ts';
import type { RoutePolicies } from './route-policies.ts';

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

/** A registered uri and the endpoints it leads to. */
export class Route {
  /** `host` or `host/path`, lower case. */
  readonly uri: string;
  loadBalancing: LoadBalancing | undefined;
  route_service_url = '';
  policies: RoutePolicies | undefined;
  /** Table seconds since when it has been empty; only kept when an empty pool may stay. */
  emptySince_s = -1;
  /** The one member alone, which most routes have: an array around it would be a twelfth of what a route takes. */
  #members: Member | readonly Member[];
  #next = 0;

  constructor(uri: string, first: Member) {
    this.uri = uri;
    this.#members = first;
  }

  get members(): readonly Member[] {
    return isMany(this.#members) ? this.#members : [this.#members];
  }

  get size(): number {
    return isMany(this.#members) ? this.#members.length : 1;
  }

  memberAt(address: string): Member | undefined {
    const members = this.#members;
    if (isMany(members)) return members.find(({ endpoint }) => endpoint.address === address);
    return members.endpoint.address === address ? members : undefined;
  }

  add(member: Member): void {
    // Not pushed: an array that grows makes room for sixteen more.
    this.#members = this.size === 0 ? member : this.members.concat(member);
  }

  remove(member: Member): void {
    const left = this.members.filter((one) => one !== member);
    const [only] = left;
    this.#members = left.length === 1 && only !== undefined ? only : left;
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
    const held = this.#members;
    if (!isMany(held) && choice.tried === undefined && !held.endpoint.isGone) {
      // An instance that has no other beside it is never out of rotation.
      return isFull(held.endpoint, choice.max_conns) ? 'connection_limit' : held.endpoint;
    }
    const members = this.members;
    if (members.length === 0) return 'no_endpoints';
    if (choice.preferred !== undefined) {
      const preferred = this.find(choice.preferred);
      if (preferred !== undefined && isUsable(preferred, choice) && !choice.tried?.includes(preferred))
        return preferred;
    }
    const algorithm = this.loadBalancing ?? loadBalancing;
    const chosen = algorithm === 'round-robin' ? this.#inTurn(members, choice) : this.#leastLoaded(members, choice);
    if (chosen !== undefined) return chosen;
    return this.#secondChoice(choice);
  }

  /** The endpoint with this identity, or undefined. */
  find(identity: string): Endpoint | undefined {
    return this.members.find(({ endpoint }) => endpoint.identity === identity)?.endpoint;
  }

  #inTurn(members: readonly Member[], choice: Choice): Endpoint | undefined {
    const count = members.length;
    for (let tries = 0; tries < count; tries++) {
      if (this.#next >= count) this.#next = 0;
      const endpoint = members[this.#next++]?.endpoint;
      if (endpoint !== undefined && isUsable(endpoint, choice) && choice.tried?.includes(endpoint) !== true)
        return endpoint;
    }
    return undefined;
  }

  #leastLoaded(members: readonly Member[], choice: Choice): Endpoint | undefined {
    let best: Endpoint | undefined;
    const count = members.length;
    // A moving start spreads requests over equals.
    const start = this.#next++ % count;
    for (let offset = 0; offset < count; offset++) {
      const endpoint = members[(start + offset) % count]?.endpoint;
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
    return this.#inTurn(this.members, choice) ?? 'no_endpoints';
  }
}

function isMany(members: Member | readonly Member[]): members is readonly Member[] {
  return Array.isArray(members);
}

function isFull(endpoint: Endpoint, max_conns: number): boolean {
  return max_conns > 0 && endpoint.active >= max_conns;
}

function isUsable(endpoint: Endpoint, choice: Choice): boolean {
  return !endpoint.isGone && endpoint.failedUntil_ms <= choice.now_ms && !isFull(endpoint, choice.max_conns);
}
