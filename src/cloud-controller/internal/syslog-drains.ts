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

/** Where apps' logs are drained to, in the order of their bindings. */
export function registerSyslogDrains(server: FastifyInstance, { db }: Deps): void {
  server.get('/internal/v5/syslog_drain_urls', async ({ query }): Promise<SyslogDrainUrls> => {
    const { batch_size, next_id } = parseBody(Query, query);
    const { rows } = await sql<{ id: number; url: string; app_id: string; hostname: string }>`
      select b.id, b.syslog_drain_url as url, a.guid as app_id, o.name || '.' || s.name || '.' || a.name as hostname
      from service_credential_bindings b
      join apps a on a.guid = b.app_guid
      join spaces s on s.guid = a.space_guid
      join organizations o on o.guid = s.organization_guid
      where b.syslog_drain_url is not null and b.type = 'app' and b.id > ${next_id}
      order by b.id limit ${batch_size}`.execute(db);
    const last = rows.length === batch_size ? rows.at(-1) : undefined;
    const byUrl = new Map<string, { app_id: string; hostname: string }[]>();
    for (const { url, app_id, hostname } of rows) byUrl.set(url, [...(byUrl.get(url) ?? []), { app_id, hostname }]);
    return {
      results: [...byUrl].map(([url, apps]) => ({ url, credentials: [{ cert: '', key: '', ca: '', apps }] })),
      next_id: last?.id ?? null,
    };
  });
}
