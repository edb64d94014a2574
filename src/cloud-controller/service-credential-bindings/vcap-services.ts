import { sql } from 'kysely';
import type { Vault } from '../service-secrets/vault.ts';
import type { Db } from '../tables.ts';

interface Bound {
  binding_guid: string;
  binding_name: string | null;
  binding_credentials: string | null;
  binding_drain: string | null;
  volume_mounts: unknown[];
  instance_guid: string;
  instance_name: string;
  instance_type: 'managed' | 'user-provided';
  instance_credentials: string | null;
  instance_drain: string | null;
  instance_tags: string[];
  plan_name: string | null;
  offering_name: string | null;
  offering_tags: string[] | null;
}

export type VcapServices = Record<string, Record<string, unknown>[]>;

/**
 * VCAP_SERVICES of an app, by label. Of several bindings to one instance the newest counts, and only those that are there:
 * not made yet, being removed or failed ones are left out. Source: Cloud Foundry's documentation of the variable.
 */
export async function loadVcapServices(db: Db, vault: Vault, app_guid: string): Promise<VcapServices> {
  const { rows } = await sql<Bound>`
    select distinct on (i.id) b.guid as binding_guid, b.name as binding_name, b.credentials_sealed as binding_credentials,
      b.syslog_drain_url as binding_drain, b.volume_mounts, i.guid as instance_guid, i.name as instance_name,
      i.type as instance_type, i.credentials_sealed as instance_credentials, i.syslog_drain_url as instance_drain,
      i.tags as instance_tags, p.name as plan_name, o.name as offering_name, o.tags as offering_tags
    from service_credential_bindings b
    join service_instances i on i.guid = b.service_instance_guid
    left join service_plans p on p.guid = i.service_plan_guid
    left join service_offerings o on o.guid = p.service_offering_guid
    where b.app_guid = ${app_guid} and b.operation_type = 'create' and b.operation_state = 'succeeded'
    order by i.id, b.id desc`.execute(db);
  const services: VcapServices = {};
  for (const row of rows) {
    const label = row.offering_name ?? 'user-provided';
    (services[label] ??= []).push(present(row, label, vault));
  }
  return services;
}

function present(row: Bound, label: string, vault: Vault): Record<string, unknown> {
  const isManaged = row.instance_type === 'managed';
  return {
    label,
    ...(isManaged && { provider: null, plan: row.plan_name }),
    name: row.binding_name ?? row.instance_name,
    tags: [...new Set([...(row.offering_tags ?? []), ...row.instance_tags])],
    instance_guid: row.instance_guid,
    instance_name: row.instance_name,
    binding_guid: row.binding_guid,
    binding_name: row.binding_name,
    credentials: isManaged
      ? vault.openObject(row.binding_credentials, row.binding_guid)
      : vault.openObject(row.instance_credentials, row.instance_guid),
    syslog_drain_url: isManaged ? row.binding_drain : row.instance_drain,
    volume_mounts: row.volume_mounts.map(censorMount),
  };
}

/** What an app needs to know of a volume; the rest is the platform's. */
function censorMount(mount: unknown): Record<string, unknown> {
  const fields = typeof mount === 'object' && mount !== null ? Object.entries(mount) : [];
  return Object.fromEntries(fields.filter(([key]) => ['container_dir', 'mode', 'device_type'].includes(key)));
}
