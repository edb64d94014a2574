import { sql } from 'kysely';
import { z } from 'zod';
import { type ServiceBindingFiles, VolumeMount } from '#contracts/dea.ts';
import type { Vault } from '../service-secrets/vault.ts';
import type { Db } from '../tables.ts';
import { bindingFiles, BindingsUnfitForFiles } from './binding-files.ts';

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

/** What an app's bindings come to for its containers. */
export interface AppServices {
  told: {
    vcap_services: VcapServices;
    /** When the app asked for files: they take the variable's place. */
    service_binding_files?: ServiceBindingFiles;
  };
  volume_mounts: VolumeMount[];
  /** Why no container can be told of them, in words for the user. */
  unfit?: string;
}

/** All that a container is told of the app's services. */
export async function loadAppServices(db: Db, vault: Vault, app_guid: string): Promise<AppServices> {
  const [rows, features] = await Promise.all([
    loadBound(db, app_guid),
    db
      .selectFrom('apps')
      .select(['service_binding_k8s_enabled', 'file_based_vcap_services_enabled'])
      .where('guid', '=', app_guid)
      .executeTakeFirst(),
  ]);
  const vcap_services = presentAll(rows, vault);
  const mounts = z.array(VolumeMount).safeParse(rows.flatMap(({ volume_mounts }) => volume_mounts));
  if (!mounts.success) {
    return {
      told: { vcap_services },
      volume_mounts: [],
      unfit: 'A volume mount is not as the Open Service Broker API says',
    };
  }
  const volume_mounts = mounts.data;
  try {
    const service_binding_files = features && bindingFiles(vcap_services, features);
    return { told: { vcap_services, ...(service_binding_files && { service_binding_files }) }, volume_mounts };
  } catch (error) {
    if (!(error instanceof BindingsUnfitForFiles)) throw error;
    return { told: { vcap_services }, volume_mounts, unfit: error.message };
  }
}

/**
 * VCAP_SERVICES of an app, by label. Of several bindings to one instance the newest counts, and only those that are there:
 * not made yet, being removed or failed ones are left out. Source: Cloud Foundry's documentation of the variable.
 */
export async function loadVcapServices(db: Db, vault: Vault, app_guid: string): Promise<VcapServices> {
  return presentAll(await loadBound(db, app_guid), vault);
}

function presentAll(rows: readonly Bound[], vault: Vault): VcapServices {
  const services: VcapServices = {};
  for (const row of rows) {
    const label = row.offering_name ?? 'user-provided';
    (services[label] ??= []).push(present(row, label, vault));
  }
  return services;
}

async function loadBound(db: Db, app_guid: string): Promise<Bound[]> {
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
  return rows;
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
