import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { seedSharedSegment } from '../isolation-segments/store.ts';
import type { Db, SecurityGroupRule, Trx } from '../tables.ts';

const LOCK_KEY = 4_906_152;

export interface Seed {
  app_domains: readonly string[];
  internal_domain: string;
  stacks: readonly { name: string; description: string }[];
}

/** The world outside: all addresses but those that are private by RFC 1918 or link-local. Source: Cloud Foundry's defaults. */
const PUBLIC_NETWORKS: SecurityGroupRule[] = [
  '0.0.0.0-9.255.255.255',
  '11.0.0.0-169.253.255.255',
  '169.255.0.0-172.15.255.255',
  '172.32.0.0-192.167.255.255',
  '192.169.0.0-255.255.255.255',
].map((destination) => ({ protocol: 'all', destination }));

const DNS: SecurityGroupRule[] = (['tcp', 'udp'] as const).map((protocol) => ({
  protocol,
  destination: '0.0.0.0/0',
  ports: '53',
}));

/**
 * What must be there before anything else can be: made when it is missing, in one transaction that several cloud controllers
 * starting at once take one after the other. What an operator changed since stays as it is.
 */
export async function seed(db: Db, wanted: Seed): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(${LOCK_KEY})`.execute(trx);
    await seedQuota(trx);
    await seedDomains(trx, wanted);
    await seedSecurityGroups(trx);
    await seedSharedSegment(trx);
    for (const stack of wanted.stacks) {
      await trx
        .insertInto('stacks')
        .values({ guid: randomUUID(), name: stack.name, description: stack.description, state_reason: null })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    }
    for (const name of ['running', 'staging'] as const) {
      await trx
        .insertInto('environment_variable_groups')
        .values({ name })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    }
  });
}

async function seedQuota(trx: Trx): Promise<void> {
  await trx
    .insertInto('organization_quotas')
    .values({
      guid: randomUUID(),
      name: 'default',
      total_memory_in_mb: 102_400,
      per_process_memory_in_mb: null,
      total_instances: null,
      per_app_tasks: null,
      log_rate_limit_in_bytes_per_second: null,
      total_service_instances: null,
      total_service_keys: null,
      total_routes: 1000,
      total_reserved_ports: 100,
      total_domains: null,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

async function seedDomains(trx: Trx, wanted: Seed): Promise<void> {
  const domains = wanted.app_domains.map((name) => ({ name, internal: false }));
  for (const { name, internal } of [...domains, { name: wanted.internal_domain, internal: true }]) {
    await trx
      .insertInto('domains')
      .values({
        guid: randomUUID(),
        name: name.toLowerCase(),
        internal,
        router_group_guid: null,
        organization_guid: null,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
}

/** Only into an empty table: an operator who deleted the defaults meant it. */
async function seedSecurityGroups(trx: Trx): Promise<void> {
  const any = await trx.selectFrom('security_groups').select('guid').limit(1).executeTakeFirst();
  if (any) return;
  for (const [name, rules] of [
    ['public_networks', PUBLIC_NETWORKS],
    ['dns', DNS],
  ] as const) {
    await trx
      .insertInto('security_groups')
      .values({
        guid: randomUUID(),
        name,
        rules: JSON.stringify(rules),
        running_default: true,
        staging_default: true,
      })
      .execute();
  }
}
