import { type Links, presentCommon, presentMetadata, presentTime, toOne } from '../api/links.ts';
import type { Destination, Route } from './store.ts';

export function presentRoute(row: Route, links: Links): Record<string, unknown> {
  const path = `/v3/routes/${row.guid}`;
  return {
    ...presentCommon(row),
    protocol: row.router_group_guid === null ? 'http' : 'tcp',
    host: row.host,
    path: row.path,
    port: row.port,
    url: routeUrl(row),
    destinations: row.destinations.map((destination) => presentDestination(destination, row)),
    options: row.options,
    ...presentMetadata(row),
    relationships: { space: toOne(row.space_guid), domain: toOne(row.domain_guid) },
    links: {
      self: links.to(path),
      space: links.to(`/v3/spaces/${row.space_guid}`),
      domain: links.to(`/v3/domains/${row.domain_guid}`),
      destinations: links.to(`${path}/destinations`),
    },
  };
}

/** `host.domain/path`, or `domain:port`. */
export function routeUrl(route: { host: string; domain_name: string; path: string; port: number | null }): string {
  const host = route.host === '' ? route.domain_name : `${route.host}.${route.domain_name}`;
  return route.port === null ? host + route.path : `${host}:${route.port}`;
}

const DEFAULT_PORT = 8080;

export function presentDestination(row: Destination, route: Pick<Route, 'router_group_guid'>): Record<string, unknown> {
  return {
    guid: row.guid,
    app: { guid: row.app_guid, process: { type: row.process_type } },
    weight: row.weight,
    port: row.port ?? DEFAULT_PORT,
    protocol: row.protocol ?? (route.router_group_guid === null ? 'http1' : 'tcp'),
    created_at: presentTime(new Date(row.created_at)),
    updated_at: presentTime(new Date(row.updated_at)),
  };
}

export function presentDestinations(route: Route, links: Links): Record<string, unknown> {
  const path = `/v3/routes/${route.guid}`;
  return {
    destinations: route.destinations.map((destination) => presentDestination(destination, route)),
    links: { self: links.to(`${path}/destinations`), route: links.to(path) },
  };
}
