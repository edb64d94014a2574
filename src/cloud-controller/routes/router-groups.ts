import type { FastifyInstance } from 'fastify';
import { portRanges } from '#contracts/tcp-routes.ts';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { CloudControllerConfig } from '../config.ts';
import type { Deps } from '../deps.ts';

type RouterGroup = CloudControllerConfig['router_groups'][number];

export function groupOf({ router_groups }: Pick<CloudControllerConfig, 'router_groups'>, guid: string) {
  return router_groups.find((group) => group.guid === guid);
}

/** What the public CLI reads of Cloud Foundry's routing API. Source: cloudfoundry/routing-api. */
export function registerRouterGroupEndpoints(server: FastifyInstance, { config }: Deps): void {
  server.get<{ Querystring: { name?: string } }>('/routing/v1/router_groups', async ({ query }) =>
    config.router_groups.filter((group) => query.name === undefined || group.name === query.name),
  );
}

/**
 * The port of a new TCP route: the one asked for, or any that is free; `random` gives [0, 1).
 * Errors: 422 when it is taken, not one of the group's, or none is left.
 */
export function choosePort(
  group: RouterGroup,
  { wanted, taken, random }: { wanted: number | null; taken: ReadonlySet<number>; random: () => number },
): number {
  const ranges = portRanges(group.reservable_ports) ?? [];
  if (wanted !== null) {
    const isOfGroup = ranges.some(({ first, last }) => wanted >= first && wanted <= last);
    if (!isOfGroup) {
      throw unprocessable(
        `Port must be one of the ports of the router group '${group.name}': ${group.reservable_ports}.`,
      );
    }
    if (taken.has(wanted)) {
      throw unprocessable(`Port '${wanted}' is not available. Try a different port or use a different domain.`);
    }
    return wanted;
  }
  const free = ranges
    .flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, n) => first + n))
    .filter((port) => !taken.has(port));
  const port = free[Math.floor(random() * free.length)];
  if (port !== undefined) return port;
  throw unprocessable(
    `There are no more ports available for router group: ${group.name}. Please contact your administrator for more information.`,
  );
}
