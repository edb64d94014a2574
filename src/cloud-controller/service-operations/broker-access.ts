import { z } from 'zod';
import { CfError } from '#contracts/cf-errors.ts';
import type { BrokerAccess, BrokerTarget } from '../broker-client/client.ts';
import type { Deps } from '../deps.ts';
import type { ServiceInstance } from '../service-instances/store.ts';
import type { Db } from '../tables.ts';

const Password = z.string();

/** How to reach a broker. Errors: 404 when it is no more. */
export async function accessTo(
  { db, vault }: Pick<Deps, 'db' | 'vault'>,
  broker_guid: string,
  signal?: AbortSignal,
): Promise<BrokerAccess> {
  const row = await db
    .selectFrom('service_brokers')
    .select(['url', 'username', 'password_sealed'])
    .where('guid', '=', broker_guid)
    .executeTakeFirst();
  if (!row) throw new CfError('ResourceNotFound', 'Service broker not found');
  const password = Password.parse(vault.open(row.password_sealed, broker_guid));
  return { url: row.url, username: row.username, password, ...(signal && { signal }) };
}

/** An instance, or one of its bindings, as its broker knows it. */
export function targetOf(
  instance: Pick<ServiceInstance, 'guid' | 'offering_catalog_id' | 'plan_catalog_id'>,
  binding_guid?: string,
): BrokerTarget {
  return {
    instance_guid: instance.guid,
    binding_guid,
    service_id: instance.offering_catalog_id ?? '',
    plan_id: instance.plan_catalog_id ?? '',
  };
}

/** The `context` that brokers are given. Source: the OSB profile, "Context Object" of Cloud Foundry. */
export async function contextOf(
  db: Db,
  place: { space_guid: string; organization_guid: string },
  instance?: { name: string; annotations: Record<string, string> },
): Promise<Record<string, unknown>> {
  const found = await db
    .selectFrom('spaces')
    .innerJoin('organizations', 'organizations.guid', 'spaces.organization_guid')
    .select([
      'spaces.name as space_name',
      'spaces.annotations as space_annotations',
      'organizations.name as organization_name',
      'organizations.annotations as organization_annotations',
    ])
    .where('spaces.guid', '=', place.space_guid)
    .executeTakeFirst();
  return {
    platform: 'cloudfoundry',
    organization_guid: place.organization_guid,
    organization_name: found?.organization_name,
    organization_annotations: publicOnes(found?.organization_annotations ?? {}),
    space_guid: place.space_guid,
    space_name: found?.space_name,
    space_annotations: publicOnes(found?.space_annotations ?? {}),
    ...(instance && { instance_name: instance.name, instance_annotations: publicOnes(instance.annotations) }),
  };
}

/** Annotations with a prefix are meant for others. */
function publicOnes(annotations: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => key.includes('/')));
}
