/**
 * TCP routes: a port of the routers instead of a host. Source: cloudfoundry/routing-api (router groups).
 *
 * The uri of a TCP route is `<domain>:<port>`, which is what `cf routes` and VCAP_APPLICATION show. It stands among the `uris` of
 * `dea.start` and of `router.register` like any other; that it ends in a port is what makes it one, since no HTTP route does. Routers
 * listen on the port as long as an endpoint is registered for it, if it is one of those they may reserve.
 */
import { z } from 'zod';

const TCP_URI = /^[^:/?]+:(\d{1,5})$/;
const RANGE = /^(\d{1,5})(?:-(\d{1,5}))?$/;

/** The port of a TCP route's uri; undefined for the uri of an HTTP route. */
export function tcpPortOf(uri: string): number | undefined {
  const port = TCP_URI.exec(uri)?.[1];
  return port === undefined ? undefined : Number(port);
}

/** `reservable_ports` of a router group: ports and ranges of them, as in `1024-1123` or `2000,3000-3010`. */
export const ReservablePorts = z
  .string()
  .refine((text) => portRanges(text) !== undefined, 'must be ports or ranges of ports such as 1024-1123,2000');

/** The ranges, first and last port each; undefined when the text is malformed. */
export function portRanges(reservable_ports: string): { first: number; last: number }[] | undefined {
  const ranges: { first: number; last: number }[] = [];
  for (const part of reservable_ports.split(',')) {
    const match = RANGE.exec(part.trim());
    if (match === null) return undefined;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (first < 1 || last > 65_535 || first > last) return undefined;
    ranges.push({ first, last });
  }
  return ranges;
}

export function isReservable(reservable_ports: string, port: number): boolean {
  return portRanges(reservable_ports)?.some(({ first, last }) => port >= first && port <= last) ?? false;
}
