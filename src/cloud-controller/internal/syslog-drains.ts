import type { FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { z } from 'zod';
import type { SyslogDrainUrls } from '#contracts/cloud-controller.ts';
import { parseBody } from '../api/body.ts';
import type { Deps } from '../deps.ts';

const Query = z.object({
  batch_size: z.coerce.number().int().min(1).max(10_000).default(500),
  next_id: z.coerce.number().int().min(0).default(0),
});

interface Drain {
  id: number;
  url: string;
  sealed: string | null;
  /** What the credentials are sealed for. */
  owner: string;
  app_id: string;
  hostname: string;
}

/**
 * Where apps' logs are drained to, in the order of their bindings. Of a user-provided instance its own URL counts, so that it
 * can be changed without binding anew.
 */
export function registerSyslogDrains(server: FastifyInstance, { db, vault }: Deps): void {
  server.get('/internal/v5/syslog_drain_urls', async ({ query }): Promise<SyslogDrainUrls> => {
    const { batch_size, next_id } = parseBody(Query, query);
    const { rows } = await sql<Drain>`
      select b.id, coalesce(b.syslog_drain_url, i.syslog_drain_url) as url,
        case i.type when 'managed' then b.credentials_sealed else i.credentials_sealed end as sealed,
        case i.type when 'managed' then b.guid else i.guid end as owner,
        a.guid as app_id, o.name || '.' || s.name || '.' || a.name as hostname
      from service_credential_bindings b
      join service_instances i on i.guid = b.service_instance_guid
      join apps a on a.guid = b.app_guid
      join spaces s on s.guid = a.space_guid
      join organizations o on o.guid = s.organization_guid
      where b.id > ${next_id} and b.operation_type = 'create' and b.operation_state = 'succeeded'
        and coalesce(b.syslog_drain_url, i.syslog_drain_url, '') <> ''
      order by b.id limit ${batch_size}`.execute(db);
    const last = rows.length === batch_size ? rows.at(-1) : undefined;
    const drains = rows.map((row) => ({ ...row, ...certificatesIn(vault.openObject(row.sealed, row.owner)) }));
    const results = [...Map.groupBy(drains, ({ url }) => url)].map(([url, of_url]) => {
      const identities = Map.groupBy(of_url, ({ cert, key, ca }) => JSON.stringify([cert, key, ca]));
      const credentials = [...identities.values()].map((of_identity) => ({
        cert: of_identity[0]?.cert ?? '',
        key: of_identity[0]?.key ?? '',
        ca: of_identity[0]?.ca ?? '',
        apps: of_identity.map(({ app_id, hostname }) => ({ app_id, hostname })),
      }));
      return { url, credentials };
    });
    return { results, next_id: last?.id ?? null };
  });
}

/** What a drain over mutual TLS is spoken to with. */
function certificatesIn(credentials: Record<string, unknown>): { cert: string; key: string; ca: string } {
  const text = (name: string): string => {
    const value = credentials[name];
    return typeof value === 'string' ? value : '';
  };
  return { cert: text('cert'), key: text('key'), ca: text('ca') };
}
