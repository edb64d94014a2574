import { type Links, presentCommon, presentMetadata } from '../api/links.ts';
import { type Page, presentPage } from '../api/list-store.ts';
import type { ListQuery } from '../api/list.ts';
import type { Deps } from '../deps.ts';
import type { UserRow } from '../tables.ts';
import { nameUsers } from './store.ts';

export function presentUser(row: UserRow, links: Links): Record<string, unknown> {
  return {
    ...presentCommon(row),
    username: row.username,
    presentation_name: row.username ?? row.guid,
    origin: row.origin,
    ...presentMetadata(row),
    links: { self: links.to(`/v3/users/${row.guid}`) },
  };
}

/** A page of users with their names, which the UAA is asked for where they are not known yet. */
export async function presentUserPage(
  page: Page<UserRow>,
  query: ListQuery,
  deps: Deps,
): Promise<Record<string, unknown>> {
  const rows = await nameUsers(deps, page.rows);
  return presentPage(
    { rows, total: page.total },
    { query, links: deps.links, present: (row) => presentUser(row, deps.links) },
  );
}
