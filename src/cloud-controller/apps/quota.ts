import { sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { Db } from '../tables.ts';
import type { ProcessRow } from '../tables-apps.ts';
import type { FoundApp } from './store.ts';

interface Held {
  memory_in_mb: number;
  instances: number;
  log_rate: number;
}

type Need = Pick<ProcessRow, 'guid' | 'memory_in_mb' | 'instances' | 'log_rate_limit_in_bytes_per_second' | 'state'>;

/**
 * Whether an app's processes, as they are to be, fit the quotas of its organization and space beside all else that is started
 * there. `starting` counts them although they are stopped as yet. A task holds
 * memory but is no instance: `countsInstances: false`.
 * Errors: 422 with Cloud Foundry's words for the limit.
 */
export async function checkQuota(
  trx: Db,
  app: Pick<FoundApp, 'guid' | 'space_guid' | 'organization_guid'>,
  wanted: { processes: readonly Need[]; starting: boolean; countsInstances?: boolean },
): Promise<void> {
  const counted = wanted.processes.filter((process) => wanted.starting || process.state === 'STARTED');
  const need: Held = {
    memory_in_mb: counted.reduce((sum, process) => sum + process.memory_in_mb * process.instances, 0),
    instances: wanted.countsInstances === false ? 0 : counted.reduce((sum, process) => sum + process.instances, 0),
    log_rate: counted.reduce(
      (sum, process) => sum + Math.max(0, process.log_rate_limit_in_bytes_per_second) * process.instances,
      0,
    ),
  };
  const hasUnlimitedLogs = counted.some((process) => process.log_rate_limit_in_bytes_per_second < 0);
  const largest_mb = Math.max(0, ...wanted.processes.map((process) => process.memory_in_mb));
  for (const level of ['organization', 'space'] as const) {
    const limits = await quotaOf(trx, app, level);
    if (!limits) continue;
    const held = await heldBesides(trx, app, { level, but: wanted.processes.map(({ guid }) => guid) });
    const faults: string[] = [];
    const exceeds = (limit: number | null, value: number): boolean => limit !== null && limit >= 0 && value > limit;
    const prefix = level === 'space' ? 'space_' : '';
    if (exceeds(limits.per_process_memory_in_mb, largest_mb)) {
      faults.push(`memory ${prefix}instance_memory_limit_exceeded`);
    }
    if (exceeds(limits.total_memory_in_mb, held.memory_in_mb + need.memory_in_mb)) {
      faults.push(`memory ${prefix}quota_exceeded`);
    }
    if (exceeds(limits.total_instances, held.instances + need.instances)) {
      faults.push(
        `instances ${level === 'space' ? 'space_app_instance_limit_exceeded' : 'app_instance_limit_exceeded'}`,
      );
    }
    const log_limit = limits.log_rate_limit_in_bytes_per_second;
    if (log_limit !== null && log_limit >= 0 && counted.length > 0) {
      if (hasUnlimitedLogs) faults.push(`log_rate_limit cannot be unlimited in ${level} '${limits.place}'.`);
      else if (held.log_rate + need.log_rate > log_limit) faults.push(`log_rate_limit exceeds ${level} log rate quota`);
    }
    if (faults.length > 0) throw unprocessable(faults);
  }
}

async function quotaOf(
  trx: Db,
  app: Pick<FoundApp, 'space_guid' | 'organization_guid'>,
  level: 'organization' | 'space',
) {
  const columns = [
    'total_memory_in_mb',
    'per_process_memory_in_mb',
    'total_instances',
    'log_rate_limit_in_bytes_per_second',
  ] as const;
  if (level === 'organization') {
    return await trx
      .selectFrom('organizations')
      .innerJoin('organization_quotas', 'organization_quotas.guid', 'organizations.quota_guid')
      .select(columns)
      .select('organizations.name as place')
      .where('organizations.guid', '=', app.organization_guid)
      .executeTakeFirst();
  }
  return await trx
    .selectFrom('spaces')
    .innerJoin('space_quotas', 'space_quotas.guid', 'spaces.quota_guid')
    .select(columns)
    .select('spaces.name as place')
    .where('spaces.guid', '=', app.space_guid)
    .executeTakeFirst();
}

/** What started processes and running tasks of the organization or space hold, save these processes. */
async function heldBesides(
  trx: Db,
  app: Pick<FoundApp, 'space_guid' | 'organization_guid'>,
  what: { level: 'organization' | 'space'; but: readonly string[] },
): Promise<Held> {
  const place =
    what.level === 'space'
      ? sql`a.space_guid = ${app.space_guid}`
      : sql`a.space_guid in (select guid from spaces where organization_guid = ${app.organization_guid})`;
  const { rows } = await sql<Held>`
    select coalesce(sum(memory_in_mb), 0)::bigint as memory_in_mb, coalesce(sum(instances), 0)::bigint as instances,
      coalesce(sum(log_rate), 0)::bigint as log_rate
    from (
      select p.memory_in_mb::bigint * p.instances as memory_in_mb, p.instances::bigint as instances,
        greatest(p.log_rate_limit_in_bytes_per_second, 0) * p.instances as log_rate
      from processes p join apps a on a.guid = p.app_guid
      where p.state = 'STARTED' and not (p.guid = any(${what.but}::text[])) and ${place}
      union all
      select t.memory_in_mb::bigint, 0, greatest(t.log_rate_limit_in_bytes_per_second, 0)
      from tasks t join apps a on a.guid = t.app_guid
      where t.state in ('PENDING', 'RUNNING', 'CANCELING') and ${place}
    ) held`.execute(trx);
  return rows[0] ?? { memory_in_mb: 0, instances: 0, log_rate: 0 };
}
