import { type Actor, recordAuditEvent } from '../events.ts';
import { purgeInstance } from '../service-instances/purge-store.ts';
import type { Trx } from '../tables.ts';
import type { ServiceOffering } from './store.ts';

export async function hasPlans(trx: Trx, offering_guid: string): Promise<boolean> {
  const found = await trx
    .selectFrom('service_plans')
    .select('guid')
    .where('service_offering_guid', '=', offering_guid)
    .executeTakeFirst();
  return found !== undefined;
}

/**
 * Removes an offering with its plans, their instances and all that is bound to those, without a word to the broker. Returns the
 * apps whose routes lost a route service.
 */
export async function purgeOffering(trx: Trx, offering: ServiceOffering, actor: Actor): Promise<string[]> {
  const plans = trx.selectFrom('service_plans').select('guid').where('service_offering_guid', '=', offering.guid);
  const instances = await trx
    .selectFrom('service_instances')
    .select('guid')
    .where('service_plan_guid', 'in', plans)
    .execute();
  const app_guids: string[] = [];
  for (const { guid } of instances) app_guids.push(...(await purgeInstance(trx, guid, actor)));
  await trx.deleteFrom('service_plans').where('service_offering_guid', '=', offering.guid).execute();
  await trx.deleteFrom('service_offerings').where('guid', '=', offering.guid).execute();
  await recordAuditEvent(trx, {
    type: 'audit.service.delete',
    actor,
    target: { guid: offering.guid, type: 'service', name: offering.name },
    data: { request: { purge: true } },
    space_guid: offering.space_guid,
    organization_guid: offering.organization_guid,
  });
  return app_guids;
}
