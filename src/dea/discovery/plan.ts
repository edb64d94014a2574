import type { DiscoverableInstance, NetworkPolicy, ServiceDiscoveryRegister } from '#contracts/networking.ts';
import type { InternalRoutes, NetworkFlow, NetworkState } from '#contracts/warden.ts';

/** An instance or task here that has a container. */
export interface OwnInstance extends DiscoverableInstance {
  /** of its container */
  handle: string;
  /** whether any internal route leads to it, healthy or not */
  has_internal_routes: boolean;
}

export interface Knowledge {
  /** where this DEA's containers are */
  network: string;
  own: readonly OwnInstance[];
  /** what other DEAs said last */
  others: readonly ServiceDiscoveryRegister[];
  policies: readonly NetworkPolicy[];
}

/** What others may need to know of what is here: hardly ever all of it. */
export function discoverable({ own, policies }: Pick<Knowledge, 'own' | 'policies'>): DiscoverableInstance[] {
  const concerned = new Set(policies.flatMap(({ source, destination }) => [source, destination]));
  return own
    .filter(({ app, has_internal_routes }) => has_internal_routes || concerned.has(app))
    .map(({ app, instance, index, address, uris }) => ({ app, instance, index, address, uris }));
}

/** What warden is to let through and to answer, from all that is known. */
export function networkState({ network, own, others, policies }: Knowledge): Omit<NetworkState, 'owner'> {
  const all = [...others.flatMap((other) => other.instances), ...own];
  const networks = others.map((other) => other.network).filter((other) => other !== network);
  return {
    internal_routes: internalRoutes(all),
    flows: flows(own, all, policies),
    networks: [...new Set(networks)].toSorted((a, b) => a.localeCompare(b)),
  };
}

function internalRoutes(all: readonly DiscoverableInstance[]): InternalRoutes {
  const routes = new Map<string, { index: number; address: string }[]>();
  for (const { uris, index, address } of all) {
    for (const uri of uris) routes.set(uri, [...(routes.get(uri) ?? []), { index, address }]);
  }
  return Object.fromEntries(routes);
}

function flows(
  own: readonly OwnInstance[],
  all: readonly DiscoverableInstance[],
  policies: readonly NetworkPolicy[],
): NetworkFlow[] {
  const here = Map.groupBy(own, ({ app }) => app);
  const everywhere = Map.groupBy(all, ({ app }) => app);
  const between = (
    app: string,
    peer: string,
    flow: Pick<NetworkFlow, 'direction' | 'protocol' | 'first_port' | 'last_port'>,
  ): NetworkFlow[] =>
    (here.get(app) ?? []).flatMap(({ handle, address }) =>
      (everywhere.get(peer) ?? [])
        .filter((other) => other.address !== address)
        .map((other) => ({ handle, peer: other.address, ...flow })),
    );
  return policies.flatMap(({ source, destination, protocol, first_port, last_port }) => [
    ...between(source, destination, { direction: 'from', protocol, first_port, last_port }),
    ...between(destination, source, { direction: 'to', protocol, first_port, last_port }),
  ]);
}
