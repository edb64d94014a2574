/**
 * From host and path to the endpoints that serve them, in memory alone. Keys are `host/path`, lower case; the longest
 * registered path under the exact host wins, then the same with the left-most label replaced by `*`, going up.
 */
import type { RouteMessage } from '#contracts/router.ts';
import { addressOf, Endpoint, factsOf, tagsToKeep, type EndpointFacts } from './endpoint.ts';
import { policiesOf } from './route-policies.ts';
import { Route, type Member } from './route.ts';

export interface RouteTableOptions {
  /** Monotonic ms. */
  now_ms: () => number;
  droplet_stale_threshold_s: number;
  /** How long a route without endpoints stays and answers 503; 0 forgets it at once. */
  empty_pool_timeout_s: number;
  /** Connections of an endpoint that is forgotten are the owner's to close. */
  onForgotten?: (endpoint: Endpoint) => void;
}

/** What became of a registration: an endpoint more, one known already, an older one than is held, or one that cannot be used. */
export type Registered = 'added' | 'updated' | 'unmodified' | 'dropped';

export class RouteTable {
  readonly #options: RouteTableOptions;
  readonly #routes = new Map<string, Route>();
  readonly #endpoints = new Map<string, Endpoint>();
  /** Hosts that have routes with a path: for all others one look-up is enough. */
  readonly #pathsOfHost = new Map<string, { routes: number; longest: number }>();
  #wildcards = 0;
  #lastUpdate_ms: number;

  constructor(options: RouteTableOptions) {
    this.#options = options;
    this.#lastUpdate_ms = options.now_ms();
  }

  get size(): number {
    return this.#routes.size;
  }

  get endpointCount(): number {
    return this.#endpoints.size;
  }

  get lastUpdate_ms(): number {
    return this.#lastUpdate_ms;
  }

  routes(): Iterable<Route> {
    return this.#routes.values();
  }

  endpoints(): Iterable<Endpoint> {
    return this.#endpoints.values();
  }

  register(message: RouteMessage): Registered {
    const facts = factsOf(message);
    if (facts === undefined) return 'dropped';
    if (message.route_service_url && !message.route_service_url.startsWith('https://')) return 'dropped';
    this.#lastUpdate_ms = this.#options.now_ms();
    const endpointsBefore = this.#endpoints.size;
    let endpoint: Endpoint | undefined;
    for (const uri of message.uris) {
      const key = routeKey(uri);
      if (key === '') continue;
      endpoint = this.#join(key, facts, message) ?? endpoint;
    }
    if (endpoint === undefined) return 'unmodified';
    endpoint.tags = tagsToKeep(endpoint.tags, message.tags, facts);
    endpoint.isolation_segment = message.isolation_segment ?? '';
    return this.#endpoints.size > endpointsBefore ? 'added' : 'updated';
  }

  /** Removes by uri, host and port. */
  unregister(message: RouteMessage): void {
    const facts = factsOf(message);
    if (facts === undefined) return;
    this.#lastUpdate_ms = this.#options.now_ms();
    const address = addressOf(facts.host, facts.port);
    for (const uri of message.uris) {
      const route = this.#routes.get(routeKey(uri));
      if (route === undefined) continue;
      const member = route.memberAt(address);
      if (member !== undefined && !isOutdated(member.updatedAt_ns, message.endpoint_updated_at_ns))
        this.#leave(route, member);
    }
  }

  /**
   * The route for a host (lower case, no port) and a request target, or undefined. Takes the target as it was sent; its query
   * is not looked at.
   */
  lookup(host: string, target: string): Route | undefined {
    const found = this.#lookupUnder(host, target);
    if (found !== undefined || this.#wildcards === 0) return found;
    for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) {
      const wild = this.#lookupUnder(`*${host.slice(dot)}`, target);
      if (wild !== undefined) return wild;
    }
    return undefined;
  }

  /** Forgets plain endpoints not registered again in time, and routes that stayed empty. Returns how many left. */
  prune(): number {
    const now_s = this.#now_s();
    let pruned = 0;
    for (const route of this.#routes.values()) {
      for (const member of route.members) {
        // Who answers over TLS is proved by the certificate; only a plain address can have changed hands in silence.
        const isStale = !member.endpoint.isTls && now_s - member.seenAt_s > member.ttl_s;
        if (!isStale && !member.endpoint.isGone) continue;
        this.#leave(route, member);
        pruned++;
      }
      if (route.emptySince_s >= 0 && now_s - route.emptySince_s >= this.#options.empty_pool_timeout_s)
        this.#forget(route);
    }
    return pruned;
  }

  /** Gives every endpoint its full time again: after the bus was away nobody could have said anything. */
  refreshAll(): void {
    const now_s = this.#now_s();
    for (const route of this.#routes.values()) for (const member of route.members) member.seenAt_s = now_s;
  }

  /** Takes an endpoint out of every route at the next pruning, and out of use at once. */
  condemn(endpoint: Endpoint): void {
    endpoint.isGone = true;
  }

  #lookupUnder(host: string, target: string): Route | undefined {
    const paths = this.#pathsOfHost.size > 0 ? this.#pathsOfHost.get(host) : undefined;
    if (paths !== undefined) {
      const query = target.indexOf('?');
      const path = (query < 0 ? target : target.slice(0, query)).slice(0, paths.longest + 1).toLowerCase();
      // A cut path can end inside a segment; then only what stands before its last slash can match.
      let end = path.length > paths.longest ? path.lastIndexOf('/') : path.length;
      for (; end > 0; end = path.lastIndexOf('/', end - 1)) {
        const route = this.#routes.get(host + path.slice(0, end));
        if (route !== undefined) return route;
      }
    }
    return this.#routes.get(host);
  }

  #join(key: string, facts: EndpointFacts, message: RouteMessage): Endpoint | undefined {
    const address = addressOf(facts.host, facts.port);
    const known = this.#routes.get(key);
    const held = known?.memberAt(address);
    if (held !== undefined && isOutdated(held.updatedAt_ns, message.endpoint_updated_at_ns)) return undefined;
    const endpoint = this.#endpointAt(address, facts);
    const threshold_s = this.#options.droplet_stale_threshold_s;
    const ttl_s = Math.min(message.stale_threshold_in_seconds || threshold_s, threshold_s);
    const updatedAt_ns = message.endpoint_updated_at_ns ?? 0;
    let route = known;
    if (held === undefined) {
      const member: Member = { endpoint, seenAt_s: this.#now_s(), ttl_s, updatedAt_ns };
      if (route === undefined) route = this.#create(key, member);
      else route.add(member);
      endpoint.routes++;
    } else {
      held.seenAt_s = this.#now_s();
      held.ttl_s = ttl_s;
      held.updatedAt_ns = updatedAt_ns;
      if (held.endpoint !== endpoint) {
        const before = held.endpoint;
        held.endpoint = endpoint;
        endpoint.routes++;
        this.#release(before);
      }
    }
    if (route !== undefined) {
      route.emptySince_s = -1;
      route.loadBalancing = message.options?.loadbalancing;
      route.route_service_url = message.route_service_url ?? '';
      route.policies = policiesOf(message);
    }
    return endpoint;
  }

  #endpointAt(address: string, facts: EndpointFacts): Endpoint {
    const known = this.#endpoints.get(address);
    if (known?.is(facts) === true && !known.isGone) return known;
    // An address that another instance has now must not be reached by the old one's routes.
    if (known !== undefined && known.instance_id !== '' && known.instance_id !== facts.instance_id) known.isGone = true;
    const endpoint = new Endpoint(facts, address);
    this.#endpoints.set(address, endpoint);
    return endpoint;
  }

  #create(key: string, first: Member): Route {
    const slash = key.indexOf('/');
    const host = slash < 0 ? key : key.slice(0, slash);
    const route = new Route(key, first);
    this.#routes.set(key, route);
    if (slash >= 0) {
      const paths = this.#pathsOfHost.get(host);
      const longest = Math.max(paths?.longest ?? 0, key.length - slash);
      this.#pathsOfHost.set(host, { routes: (paths?.routes ?? 0) + 1, longest });
    }
    if (key.startsWith('*')) this.#wildcards++;
    return route;
  }

  #leave(route: Route, member: Member): void {
    route.remove(member);
    this.#release(member.endpoint);
    if (route.size > 0) return;
    if (this.#options.empty_pool_timeout_s > 0) route.emptySince_s = this.#now_s();
    else this.#forget(route);
  }

  #forget(route: Route): void {
    if (!this.#routes.delete(route.uri)) return;
    const slash = route.uri.indexOf('/');
    if (slash >= 0) {
      const host = route.uri.slice(0, slash);
      const paths = this.#pathsOfHost.get(host);
      if (paths !== undefined && --paths.routes === 0) this.#pathsOfHost.delete(host);
    }
    if (route.uri.startsWith('*')) this.#wildcards--;
  }

  #release(endpoint: Endpoint): void {
    if (--endpoint.routes > 0) return;
    if (this.#endpoints.get(endpoint.address) === endpoint) this.#endpoints.delete(endpoint.address);
    this.#options.onForgotten?.(endpoint);
  }

  #now_s(): number {
    return Math.floor(this.#options.now_ms() / 1000);
  }
}

/** A uri as it is kept: lower case, no query, no slash at the end. Empty when it names no host. */
export function routeKey(uri: string): string {
  const query = uri.indexOf('?');
  let key = (query < 0 ? uri : uri.slice(0, query)).toLowerCase();
  while (key.endsWith('/')) key = key.slice(0, -1);
  return key.startsWith('/') ? '' : key;
}

function isOutdated(held_ns: number, said_ns: number | undefined): boolean {
  return said_ns !== undefined && said_ns > 0 && said_ns < held_ns;
}
