import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import { type RoutePolicy, sourceOf } from './store.ts';

/** What a source names, as the API calls and places it. */
const NAMED = {
  app: { key: 'app', path: 'apps' },
  space: { key: 'space', path: 'spaces' },
  org: { key: 'organization', path: 'organizations' },
} as const;

export function presentRoutePolicy(row: RoutePolicy, links: Links): Record<string, unknown> {
  const { source_type: type, source_guid } = row;
  const named = type === 'any' ? undefined : NAMED[type];
  const of = (one: keyof typeof NAMED): ReturnType<typeof toOne> => toOne(type === one ? source_guid : null);
  return {
    ...presentCommon(row),
    source: sourceOf(row),
    ...presentMetadata(row),
    relationships: { route: toOne(row.route_guid), app: of('app'), space: of('space'), organization: of('org') },
    links: {
      self: links.to(`/v3/route_policies/${row.guid}`),
      route: links.to(`/v3/routes/${row.route_guid}`),
      ...(named && { [named.key]: links.to(`/v3/${named.path}/${source_guid}`) }),
    },
  };
}
