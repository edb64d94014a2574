import { sql } from 'kysely';
import type { NetworkPolicy } from '#contracts/networking.ts';
import { isOneOf } from '../api/list-store.ts';
import type { Scope } from '../api/permissions.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Db } from '../tables.ts';

/** What a change came to; `revision` counts changes of all policies. */
export interface PolicyChange {
  revision: number;
  changed: NetworkPolicy[];
}

/** An app that a policy names, and where it is. */
export interface AppPlace {
  guid: string;
  space_guid: string;
  organization_guid: string;
}

export async function appPlaces(db: Db, guids: readonly string[]): Promise<AppPlace[]> {
  return await db
    .selectFrom('apps')
    .innerJoin('spaces', 'spaces.guid', 'apps.space_guid')
    .select(['apps.guid', 'apps.space_guid', 'spaces.organization_guid'])
    .where(isOneOf('apps.guid', guids))
    .execute();
}

export async function loadRevision(db: Db): Promise<number> {
  const { revision } = await db.selectFrom('network_policies_revision').select('revision').executeTakeFirstOrThrow();
  return revision;
}

/** Those that are there already are left as they are. */
export async function addPolicies(db: Db, policies: readonly NetworkPolicy[]): Promise<PolicyChange> {
  return await inTransaction(db, async (trx) => {
    const { rows } = await sql<NetworkPolicy>`
      insert into network_policies (source_guid, destination_guid, protocol, first_port, last_port)
      select source, destination, protocol, first_port, last_port
      from jsonb_to_recordset(${JSON.stringify(policies)}::jsonb)
        as p (source text, destination text, protocol text, first_port integer, last_port integer)
      on conflict do nothing
      returning source_guid as source, destination_guid as destination, protocol, first_port, last_port`.execute(trx);
    return { changed: rows, revision: await loadRevision(trx) };
  });
}

/** Those that are not there are passed over. */
export async function removePolicies(db: Db, policies: readonly NetworkPolicy[]): Promise<PolicyChange> {
  return await inTransaction(db, async (trx) => {
    const { rows } = await sql<NetworkPolicy>`
      delete from network_policies n using jsonb_to_recordset(${JSON.stringify(policies)}::jsonb)
        as p (source text, destination text, protocol text, first_port integer, last_port integer)
      where n.source_guid = p.source and n.destination_guid = p.destination and n.protocol = p.protocol
        and n.first_port = p.first_port and n.last_port = p.last_port
      returning n.source_guid as source, n.destination_guid as destination, n.protocol, n.first_port, n.last_port`.execute(
      trx,
    );
    return { changed: rows, revision: await loadRevision(trx) };
  });
}

/** `any`, `source` and `destination` each narrow the list to policies of these apps; `scope` to those of which both ends lie in it. */
export async function listPolicies(
  db: Db,
  wanted: { any?: string[] | undefined; source?: string[] | undefined; destination?: string[] | undefined },
  scope: Scope,
): Promise<NetworkPolicy[]> {
  let statement = db
    .selectFrom('network_policies')
    .select(['source_guid as source', 'destination_guid as destination', 'protocol', 'first_port', 'last_port'])
    .orderBy('id');
  const { any, source, destination } = wanted;
  if (any) {
    const either = sql<boolean>`(${isOneOf('source_guid', any)} or ${isOneOf('destination_guid', any)})`;
    statement = statement.where(either);
  }
  if (source) statement = statement.where(isOneOf('source_guid', source));
  if (destination) statement = statement.where(isOneOf('destination_guid', destination));
  if (!scope.everywhere) {
    const within = sql`select apps.guid from apps join spaces on spaces.guid = apps.space_guid
      where ${isOneOf('spaces.organization_guid', scope.organization_guids)} or ${isOneOf('spaces.guid', scope.space_guids)}`;
    statement = statement.where(sql<boolean>`(source_guid in (${within}) and destination_guid in (${within}))`);
  }
  return await statement.execute();
}

/** How many policies each of these apps is the source of. */
export async function countBySource(db: Db, sources: readonly string[]): Promise<Map<string, number>> {
  const rows = await db
    .selectFrom('network_policies')
    .select(['source_guid', ({ fn }) => fn.countAll<number>().as('count')])
    .where(isOneOf('source_guid', sources))
    .groupBy('source_guid')
    .execute();
  return new Map(rows.map(({ source_guid, count }) => [source_guid, count]));
}

/** For DEAs: the policies behind `after`, in the order in which they were made. */
export async function pageOfPolicies(
  db: Db,
  after: number,
  limit: number,
): Promise<{ revision: number; policies: NetworkPolicy[]; next?: number }> {
  return await inTransaction(db, async (trx) => {
    // First: what is read later is at least of this revision, and what comes in between is said as a change of it.
    const revision = await loadRevision(trx);
    const rows = await trx
      .selectFrom('network_policies')
      .select(['id', 'source_guid as source', 'destination_guid as destination', 'protocol', 'first_port', 'last_port'])
      .where('id', '>', after)
      .orderBy('id')
      .limit(limit)
      .execute();
    const last = rows.length === limit ? rows.at(-1)?.id : undefined;
    const policies = rows.map(({ source, destination, protocol, first_port, last_port }) => ({
      source,
      destination,
      protocol,
      first_port,
      last_port,
    }));
    return { revision, policies, ...(last !== undefined && { next: last }) };
  });
}
