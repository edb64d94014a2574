import { sql } from 'kysely';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { Trx } from '../tables.ts';

interface Limits {
  instances: number | null;
  paid: boolean;
  keys: number | null;
}

interface Levels {
  organization: Limits;
  space: Limits | undefined;
}

async function limitsOf(trx: Trx, space_guid: string): Promise<Levels | undefined> {
  // One after the other within an organization, so that two at once do not both take the last place.
  const { rows } = await sql<{
    organization_instances: number | null;
    organization_paid: boolean;
    organization_keys: number | null;
    space_instances: number | null;
    space_paid: boolean | null;
    space_keys: number | null;
  }>`
    select q.total_service_instances as organization_instances, q.paid_services_allowed as organization_paid,
      q.total_service_keys as organization_keys, sq.total_service_instances as space_instances,
      sq.paid_services_allowed as space_paid, sq.total_service_keys as space_keys
    from spaces s join organizations o on o.guid = s.organization_guid
    join organization_quotas q on q.guid = o.quota_guid
    left join space_quotas sq on sq.guid = s.quota_guid
    where s.guid = ${space_guid} for update of o`.execute(trx);
  const [row] = rows;
  if (!row) return undefined;
  return {
    organization: {
      instances: row.organization_instances,
      paid: row.organization_paid,
      keys: row.organization_keys,
    },
    space:
      row.space_paid === null
        ? undefined
        : { instances: row.space_instances, paid: row.space_paid, keys: row.space_keys },
  };
}

const isFull = (limit: number | null | undefined, used: number): boolean =>
  limit != null && limit >= 0 && used >= limit;

/** Whether one more instance of a plan fits the quotas of its place. Errors: 422 with Cloud Foundry's words. */
export async function checkInstanceQuota(trx: Trx, space_guid: string, plan: { free: boolean }): Promise<void> {
  const limits = await limitsOf(trx, space_guid);
  if (!limits) return;
  const { organization, space } = limits;
  const used = await countIn(trx, space_guid);
  const faults: string[] = [];
  if (isFull(organization.instances, used.organization)) {
    faults.push("You have exceeded your organization's services limit.");
  }
  if (isFull(space?.instances, used.space)) faults.push("You have exceeded your space's services limit.");
  checkPaid(limits, plan, faults);
  if (faults.length > 0) throw unprocessable(faults);
}

/** As checkInstanceQuota, for an instance that only changes its plan. */
export async function checkPlanQuota(trx: Trx, space_guid: string, plan: { free: boolean }): Promise<void> {
  const limits = await limitsOf(trx, space_guid);
  const faults: string[] = [];
  if (limits) checkPaid(limits, plan, faults);
  if (faults.length > 0) throw unprocessable(faults);
}

function checkPaid({ organization, space }: Levels, plan: { free: boolean }, faults: string[]): void {
  if (plan.free) return;
  if (!organization.paid) {
    faults.push('The service instance cannot be created because paid service plans are not allowed.');
  }
  if (space?.paid === false) {
    faults.push('The service instance cannot be created because paid service plans are not allowed for your space.');
  }
}

async function countIn(trx: Trx, space_guid: string): Promise<{ organization: number; space: number }> {
  const { rows } = await sql<{ organization: number; space: number }>`
    select count(*) as organization, count(*) filter (where i.space_guid = ${space_guid}) as space
    from service_instances i join spaces s on s.guid = i.space_guid
    where i.type = 'managed' and s.organization_guid = (select organization_guid from spaces where guid = ${space_guid})
  `.execute(trx);
  return rows[0] ?? { organization: 0, space: 0 };
}

/** Whether one more key fits. Errors: 422 with Cloud Foundry's words. */
export async function checkKeyQuota(trx: Trx, space_guid: string): Promise<void> {
  const limits = await limitsOf(trx, space_guid);
  if (!limits) return;
  const { rows } = await sql<{ organization: number; space: number }>`
    select count(*) as organization, count(*) filter (where i.space_guid = ${space_guid}) as space
    from service_credential_bindings b join service_instances i on i.guid = b.service_instance_guid
    join spaces s on s.guid = i.space_guid
    where b.type = 'key' and s.organization_guid = (select organization_guid from spaces where guid = ${space_guid})
  `.execute(trx);
  const used = rows[0] ?? { organization: 0, space: 0 };
  if (isFull(limits.space?.keys, used.space)) {
    throw unprocessable("You have exceeded your space's limit for service binding of type key.");
  }
  if (isFull(limits.organization.keys, used.organization)) {
    throw unprocessable("You have exceeded your organization's limit for service binding of type key.");
  }
}
