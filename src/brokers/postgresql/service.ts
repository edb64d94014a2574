import { z } from 'zod';
import type { Blobstore } from '#blobs/blobstore.ts';
import type { Clock } from '#kernel/clock.ts';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { PostgresqlConfig } from '../config.ts';
import { type Credentials, idOf } from '../credentials.ts';
import type { Access, Binding, Change, Instance, JsonObject, Plan, Service, ServiceEntry } from '../service.ts';
import { listInstances } from '../store.ts';
import type { Db } from '../tables.ts';
import { Backups, type Subject } from './backups.ts';
import { namesOf, roleOf } from './names.ts';
import type { TenantsServer } from './server.ts';
import { enforceSize, inQuestion, sizeOf } from './sizes.ts';
import { makeDatabase, makeLogin, removeDatabase, removeLogin, setConnections } from './tenant.ts';

const Update = z
  .strictObject({
    backup: z.literal(true).optional().describe('makes a backup now'),
    restore: z.string().optional().describe('key of the backup that takes the place of what is there, or "latest"'),
  })
  .refine(
    (given) => given.backup === undefined || given.restore === undefined,
    'backup and restore are two operations',
  );
const None = z.strictObject({});

const BACKUP_ROUND_MS = 10 * 60_000;

export interface PostgresqlOptions {
  config: PostgresqlConfig;
  server: TenantsServer;
  db: Db;
  blobs: Blobstore;
  credentials: Credentials;
  clock: Clock;
  log: Log;
}

/** Databases on a real PostgreSQL: an instance is a database, a binding a role in it. */
export class Postgresql implements Service {
  readonly entry: ServiceEntry = {
    id: idOf('postgresql'),
    name: 'postgresql',
    description: 'PostgreSQL databases, with backups',
    tags: ['postgresql', 'postgres', 'relational', 'sql'],
    bindable: true,
    plan_updateable: true,
    instances_retrievable: true,
    bindings_retrievable: true,
    metadata: { displayName: 'PostgreSQL', shareable: true },
  };
  readonly plans: readonly Plan[];
  readonly parameters = { provision: None, update: Update, bind: None };
  readonly #options: PostgresqlOptions;
  readonly #backups: Backups;
  readonly #rounds = new AsyncDisposableStack();
  #wanted = false;

  constructor(options: PostgresqlOptions) {
    this.#options = options;
    this.#backups = new Backups(options);
    this.plans = options.config.plans.map(({ name, description, size_mb, connections }) => ({
      id: idOf(`postgresql/${name}`),
      name,
      description,
      free: true,
      metadata: { bullets: [`${size_mb} MB`, `${connections} connections`, 'a backup each day'] },
      schemas: {
        service_instance: {
          create: { parameters: z.toJSONSchema(None) },
          update: { parameters: z.toJSONSchema(Update) },
        },
        service_binding: { create: { parameters: z.toJSONSchema(None) } },
      },
    }));
    const { clock, config } = options;
    this.#rounds.use(clock.every(config.check_interval_s * 1000, async () => await this.#checkSizes()));
    this.#rounds.use(clock.every(BACKUP_ROUND_MS, async () => await this.#backUpByClock()));
  }

  isSlow(_verb: string, parameters: JsonObject): boolean {
    return parameters['backup'] !== undefined || parameters['restore'] !== undefined;
  }

  async resume(instances: readonly Instance[]): Promise<void> {
    if (instances.length === 0) return;
    this.#wanted = true;
    try {
      await this.#options.server.up();
    } catch (error) {
      // The next that needs it tries again.
      this.#options.log.error({ error: describeError(error) }, 'PostgreSQL of the tenants not started');
    }
  }

  isHealthy(): boolean {
    return !this.#wanted || this.#options.server.isUp;
  }

  async provision(instance: Instance): Promise<JsonObject> {
    this.#wanted = true;
    const { names, connections, maintenance_password } = this.#subject(instance);
    await makeDatabase(this.#options.server, names, { connections, maintenance_password });
    return {};
  }

  async update({ instance, plan, parameters }: Change): Promise<JsonObject> {
    const subject = this.#subject({ ...instance, plan });
    const { backup, restore } = Update.parse(parameters);
    if (backup) await this.#backups.make(subject, false);
    if (restore !== undefined) await this.#backups.restore(subject, restore);
    if (plan.id !== instance.plan.id) {
      await this.#options.server.as('postgres', async (client) => {
        await setConnections(client, subject.names.database, subject.connections);
      });
    }
    await enforceSize(this.#options.server, subject, this.#options.log);
    return instance.details;
  }

  async deprovision(instance: Instance): Promise<void> {
    await removeDatabase(this.#options.server, namesOf(instance.guid));
    await this.#backups.forgetAll(instance.guid);
    const others = (await listInstances(this.#options.db, this.entry.name)).filter(
      ({ guid }) => guid !== instance.guid,
    );
    if (others.length > 0) return;
    this.#wanted = false;
    await this.#options.server.rest();
  }

  async bind(instance: Instance, binding: Binding): Promise<Access> {
    const subject = this.#subject(instance);
    await makeLogin(this.#options.server, subject.names, { guid: binding.guid, password: this.#passwordOf(binding) });
    // One that is full already gives no more than the others have.
    await enforceSize(this.#options.server, subject, this.#options.log);
    return this.access(instance, binding);
  }

  access(instance: Instance, binding: Binding): Access {
    const { database } = namesOf(instance.guid);
    const { host, port } = this.#options.server.address;
    const username = roleOf(binding.guid);
    const password = this.#passwordOf(binding);
    const uri = `postgres://${username}:${password}@${host}:${port}/${database}`;
    const jdbcUrl = `jdbc:postgresql://${host}:${port}/${database}?user=${username}&password=${password}`;
    return {
      credentials: { uri, jdbcUrl, hostname: host, host, port, name: database, database, username, password },
    };
  }

  async unbind(instance: Instance, binding: Binding): Promise<void> {
    await removeLogin(this.#options.server, namesOf(instance.guid), binding.guid);
  }

  async describe(instance: Instance): Promise<JsonObject> {
    const subject = this.#subject(instance);
    const backups = await this.#backups.list(instance.guid);
    return {
      size_mb: subject.size_mb,
      size_mb_used: await sizeOf(this.#options.server, subject.names.database),
      connections: subject.connections,
      backups: backups.map(({ key, created_at, size_bytes }) => ({
        key,
        created_at: created_at.toISOString(),
        size_bytes,
      })),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rounds.disposeAsync();
    await this.#options.server[Symbol.asyncDispose]();
  }

  #subject(instance: Instance): Subject {
    const plan = this.#options.config.plans.find(({ name }) => name === instance.plan.name);
    if (!plan) throw new AppError('plan_unknown', `there is no plan ${instance.plan.name}`);
    return {
      instance_guid: instance.guid,
      names: namesOf(instance.guid),
      connections: plan.connections,
      size_mb: plan.size_mb,
      maintenance_password: this.#options.credentials.passwordFor(`postgresql maintenance ${instance.guid}`),
    };
  }

  #passwordOf(binding: Binding): string {
    return this.#options.credentials.passwordFor(`postgresql binding ${binding.guid}`);
  }

  async #ready(): Promise<Instance[]> {
    const rows = await listInstances(this.#options.db, this.entry.name);
    return rows.flatMap((row) => {
      const plan = this.plans.find(({ id }) => id === row.plan_id);
      return row.state === 'ready' && plan && row.operation_state !== 'in progress' ? [{ ...row, plan }] : [];
    });
  }

  async #checkSizes(): Promise<void> {
    if (!this.#options.server.isUp) return;
    const { server, log } = this.#options;
    try {
      const subjects = (await this.#ready()).map((instance) => this.#subject(instance));
      for (const subject of await inQuestion(server, subjects)) await enforceSize(server, subject, log);
    } catch (error) {
      log.warn({ error: describeError(error) }, 'sizes of databases not compared');
    }
  }

  async #backUpByClock(): Promise<void> {
    if (!this.#options.server.isUp) return;
    const { clock, config, log, db } = this.#options;
    const oldest = clock.now() - config.backup_interval_h * 3_600_000;
    try {
      for (const instance of await this.#ready()) {
        const since = await lastBackup(db, instance.guid);
        if (since === undefined || since.getTime() > oldest) continue;
        const key = await this.#backups.make(this.#subject(instance), { kept: config.backups_kept });
        log.info({ instance: instance.guid, key }, 'database backed up');
      }
    } catch (error) {
      log.error({ error: describeError(error) }, 'databases not backed up');
    }
  }
}

/** When an instance was last backed up by the clock, or else made. */
async function lastBackup(db: Db, guid: string): Promise<Date | undefined> {
  const row = await db
    .selectFrom('instances')
    .select((eb) => [
      'created_at',
      eb
        .selectFrom('backups')
        .whereRef('backups.instance_guid', '=', 'instances.guid')
        .where('by_clock', '=', true)
        .select((of) => of.fn.max('backups.created_at').as('at'))
        .as('backed_up_at'),
    ])
    .where('guid', '=', guid)
    .executeTakeFirst();
  return row && (row.backed_up_at ?? row.created_at);
}
