import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { NetworkState, type NetworkFlow } from '#contracts/warden.ts';
import { parseAddress, parseCidr, type AddressRange } from './address.ts';
import type { Flow, FlowTable } from './firewall.ts';

const Saved = z.object({ states: z.array(NetworkState), dns_port: z.number().int().optional() });

/** A live container, as far as flows concern it. */
export interface Reachable {
  handle: string;
  container_ip: string;
}

export type RoutesByName = ReadonlyMap<string, readonly { index: number; address: string }[]>;

/**
 * What the DEAs said of the network between containers, each its part, on disk before it holds, so that a daemon that was killed
 * comes back to it.
 */
export class ContainerNetwork {
  readonly #path: string;
  readonly #states: Map<string, NetworkState>;
  #routes: RoutesByName;
  #dns_port: number | undefined;

  /** `path` is of the file that keeps it. One that can't be read is as good as none: the DEAs say all of it again. */
  constructor(path: string) {
    this.#path = path;
    const saved = read(path);
    this.#states = new Map(saved.states.map((state) => [state.owner, state]));
    this.#dns_port = saved.dns_port;
    this.#routes = mergeRoutes([...this.#states.values()]);
  }

  get routes(): RoutesByName {
    return this.#routes;
  }

  /** Where the name server listened last. */
  get dns_port(): number | undefined {
    return this.#dns_port;
  }

  rememberPort(dns_port: number): void {
    if (dns_port === this.#dns_port) return;
    this.#dns_port = dns_port;
    this.#save();
  }

  /** Replaces what this owner said before. */
  replace(state: NetworkState): void {
    this.#states.set(state.owner, state);
    this.#save();
    this.#routes = mergeRoutes([...this.#states.values()]);
  }

  /** What the firewall is to let through, for the containers that there are. */
  table(containers: readonly Reachable[]): FlowTable {
    const states = [...this.#states.values()];
    return {
      flows: flowsOf(
        states.flatMap((state) => state.flows),
        containers,
      ),
      networks: mergeRanges(states.flatMap((state) => state.networks).flatMap((network) => parseCidr(network) ?? [])),
    };
  }

  #save(): void {
    mkdirSync(dirname(this.#path), { recursive: true });
    const saved = { states: [...this.#states.values()], dns_port: this.#dns_port };
    writeFileSync(`${this.#path}.new`, JSON.stringify(saved), { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
  }
}

function read(path: string): z.output<typeof Saved> {
  try {
    return Saved.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return { states: [], dns_port: undefined };
  }
}

function mergeRoutes(states: readonly NetworkState[]): RoutesByName {
  const routes = new Map<string, Map<string, number>>();
  for (const { internal_routes } of states) {
    for (const [name, instances] of Object.entries(internal_routes)) {
      const known = routes.get(name) ?? new Map<string, number>();
      for (const { address, index } of instances) known.set(address, index);
      routes.set(name, known);
    }
  }
  return new Map(
    [...routes].map(([name, known]) => [name, [...known].map(([address, index]) => ({ address, index }))]),
  );
}

/**
 * Flows between addresses, without two that overlap: the kernel takes no such pair. A container that is gone takes its flows with
 * it, whatever its owner still says, since its address will be another's.
 */
export function flowsOf(wanted: readonly NetworkFlow[], containers: readonly Reachable[]): Flow[] {
  const addresses = new Map(containers.map(({ handle, container_ip }) => [handle, container_ip]));
  const known = wanted.flatMap((flow) => {
    const address = addresses.get(flow.handle);
    return address === undefined || parseAddress(flow.peer) === undefined ? [] : [{ ...flow, address }];
  });
  const groups = Map.groupBy(known, ({ direction, address, peer, protocol }) =>
    [direction, address, peer, protocol].join(' '),
  );
  return [...groups.values()].flatMap((group) => {
    const ports = mergeRanges(group.map(({ first_port, last_port }) => ({ first: first_port, last: last_port })));
    const [one] = group;
    if (!one) return [];
    const { direction, address, peer, protocol } = one;
    return ports.map(({ first, last }) => ({ direction, address, peer, protocol, first_port: first, last_port: last }));
  });
}

/** In order, each apart from the next. */
export function mergeRanges(ranges: readonly AddressRange[]): AddressRange[] {
  const merged: AddressRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const last = merged.at(-1);
    if (last && range.first <= last.last + 1) last.last = Math.max(last.last, range.last);
    else merged.push({ ...range });
  }
  return merged;
}
