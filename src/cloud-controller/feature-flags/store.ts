import { CfError } from '#contracts/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import type { Db } from '../tables.ts';

/**
 * All flags and their defaults. Source: Cloud Foundry's v3 documentation, "List of feature flags"; but `diego_docker` is on, since an
 * image runs in a container like any app, in a user namespace of its own, and whoever pushes one expects it to run.
 */
export const FEATURE_FLAGS = {
  user_org_creation: false,
  private_domain_creation: true,
  app_bits_upload: true,
  app_scaling: true,
  route_creation: true,
  service_instance_creation: true,
  diego_docker: true,
  diego_cnb: false,
  set_roles_by_username: true,
  unset_roles_by_username: true,
  task_creation: true,
  env_var_visibility: true,
  space_scoped_private_broker_creation: true,
  space_developer_env_var_visibility: true,
  service_instance_sharing: false,
  hide_marketplace_from_unauthenticated_users: false,
  resource_matching: true,
  route_sharing: false,
  hash_based_routing: false,
} as const;
export type FeatureFlagName = keyof typeof FEATURE_FLAGS;

/** Flags that bind users but not admins. */
const ADMIN_PASSES = new Set<FeatureFlagName>([
  'app_bits_upload',
  'app_scaling',
  'set_roles_by_username',
  'unset_roles_by_username',
  'space_developer_env_var_visibility',
  'task_creation',
  'route_creation',
  'private_domain_creation',
  'service_instance_creation',
]);

export interface FeatureFlag {
  name: FeatureFlagName;
  enabled: boolean;
  custom_error_message: string | null;
  updated_at: Date | null;
}

export function isFeatureFlag(name: string): name is FeatureFlagName {
  return Object.hasOwn(FEATURE_FLAGS, name);
}

/** Each flag as it is set, or as it is by default. */
export async function listFeatureFlags(db: Db): Promise<FeatureFlag[]> {
  const rows = await db.selectFrom('feature_flags').selectAll().execute();
  const set = new Map(rows.map((row) => [row.name, row]));
  return Object.entries(FEATURE_FLAGS).map(([name, by_default]) => {
    const row = set.get(name);
    return {
      name: name as FeatureFlagName,
      enabled: row?.enabled ?? by_default,
      custom_error_message: row?.custom_error_message ?? null,
      updated_at: row?.updated_at ?? null,
    };
  });
}

export async function findFeatureFlag(db: Db, name: FeatureFlagName): Promise<FeatureFlag> {
  const row = await db.selectFrom('feature_flags').selectAll().where('name', '=', name).executeTakeFirst();
  return {
    name,
    enabled: row?.enabled ?? FEATURE_FLAGS[name],
    custom_error_message: row?.custom_error_message ?? null,
    updated_at: row?.updated_at ?? null,
  };
}

export async function setFeatureFlag(
  db: Db,
  flag: { name: FeatureFlagName; enabled?: boolean | undefined; custom_error_message?: string | null | undefined },
): Promise<void> {
  const current = await findFeatureFlag(db, flag.name);
  const values = {
    enabled: flag.enabled ?? current.enabled,
    custom_error_message:
      flag.custom_error_message === undefined ? current.custom_error_message : flag.custom_error_message,
    updated_at: new Date(),
  };
  await db
    .insertInto('feature_flags')
    .values({ name: flag.name, ...values })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(values))
    .execute();
}

/** Errors: 403 CF-FeatureDisabled with the operator's text, when the flag is off and binds the caller. */
export async function requireFeature(db: Db, name: FeatureFlagName, caller: Caller): Promise<void> {
  if (caller.isAdmin && ADMIN_PASSES.has(name)) return;
  const flag = await findFeatureFlag(db, name);
  if (!flag.enabled) throw new CfError('FeatureDisabled', `Feature Disabled: ${flag.custom_error_message ?? name}`);
}
