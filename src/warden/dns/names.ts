import { formatAddress, isWithin, parseAddress, type AddressRange } from '../address.ts';
import type { RoutesByName } from '../container-network.ts';

/** What is known of a name here: its addresses, that there are none, or nothing: then the world is asked. */
export type Found = { addresses: string[] } | 'no_such_name' | 'not_ours';

export interface Zone {
  routes: RoutesByName;
  /** Every name below them is ours to answer, and never goes out. */
  internal_domains: readonly string[];
  /** Nor does a question who has one of these addresses. */
  pool: AddressRange;
}

/** `name` is lower case. `1.web.apps.internal` is the instance 1 of `web.apps.internal` alone. */
export function lookUp(name: string, { routes, internal_domains, pool }: Zone): Found {
  const whole = routes.get(name);
  if (whole) return { addresses: whole.map(({ address }) => address) };
  const [, index, rest = ''] = /^(\d{1,9})\.(.+)$/.exec(name) ?? [];
  const one = routes.get(rest)?.filter((instance) => instance.index === Number(index)) ?? [];
  if (one.length > 0) return { addresses: one.map(({ address }) => address) };
  const isInternal =
    routes.has(rest) || internal_domains.some((domain) => name === domain || name.endsWith(`.${domain}`));
  return isInternal || isReverseOf(name, pool) ? 'no_such_name' : 'not_ours';
}

function isReverseOf(name: string, pool: AddressRange): boolean {
  const [, reversed] = /^(\d+\.\d+\.\d+\.\d+)\.in-addr\.arpa$/.exec(name) ?? [];
  if (reversed === undefined) return false;
  const address = parseAddress(reversed.split('.').toReversed().join('.'));
  return address !== undefined && isWithin({ first: address, last: address }, pool);
}

/** Each asker gets another order, so that those who take the first spread over all. */
export function shuffled<T>(items: readonly T[]): T[] {
  const mixed = [...items];
  for (let last = mixed.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    [mixed[last], mixed[other]] = [mixed[other] as T, mixed[last] as T];
  }
  return mixed;
}

/** The host's own resolvers as /etc/resolv.conf says them. */
export function nameserversIn(text: string): string[] {
  return text
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '')
    .filter((address) => parseAddress(address) !== undefined)
    .map((address) => formatAddress(parseAddress(address) ?? 0));
}
