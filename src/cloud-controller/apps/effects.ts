import { sql } from 'kysely';
import type { Effects } from '../effects.ts';
import type { AppsSide } from '../runtime/apps-side.ts';
import type { Db } from '../tables.ts';
import { deleteApps } from './delete.ts';

/** What changes of orgs, spaces and routes do to apps. */
export function appEffects(db: Db, apps: AppsSide): Effects {
  return {
    // Routes are hints to the DEAs: the next start of an instance has them right in any case.
    routesChanged: async (app_guids) => await apps.dispatcher.routesChanged(app_guids),
    deleteApps: async (app_guids, actor) => await deleteApps({ db, apps }, app_guids, actor),
    usageOf: async (space_guids) => {
      const { rows } = await sql<{ started_instances: number; memory_in_mb: number }>`
        select coalesce(sum(instances), 0)::bigint as started_instances,
          coalesce(sum(memory_in_mb), 0)::bigint as memory_in_mb
        from (
          select p.instances::bigint as instances, p.memory_in_mb::bigint * p.instances as memory_in_mb
          from processes p join apps a on a.guid = p.app_guid
          where p.state = 'STARTED' and a.space_guid = any(${[...space_guids]}::text[])
          union all
          select 0, t.memory_in_mb::bigint from tasks t join apps a on a.guid = t.app_guid
          where t.state in ('PENDING', 'RUNNING', 'CANCELING') and a.space_guid = any(${[...space_guids]}::text[])
        ) held`.execute(db);
      return rows[0] ?? { started_instances: 0, memory_in_mb: 0 };
    },
  };
}
