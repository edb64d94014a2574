import { join } from 'node:path';
import { z } from 'zod';
import { AppError, describeError } from '#kernel/errors.ts';
import type { RedisConfig } from '../config.ts';
import { type Credentials, idOf } from '../credentials.ts';
import type { Surroundings } from '../engines/engine.ts';
import type { SystemUser } from '../engines/system-user.ts';
import type { Access, Binding, Change, Instance, JsonObject, Plan, Service, ServiceEntry } from '../service.ts';
import { shortOf } from '../short-name.ts';
import { holdPort, listBindings } from '../store.ts';
import type { Db } from '../tables.ts';
import { RedisServer, type RedisSize, type RedisUser } from './server.ts';

const POLICIES = [
  'noeviction',
  'allkeys-lru',
  'allkeys-lfu',
  'allkeys-random',
  'volatile-lru',
  'volatile-lfu',
  'volatile-random',
  'volatile-ttl',
] as const;
const Options = z.strictObject({
  'maxmemory-policy': z.enum(POLICIES).optional().describe('what goes when the memory is full; noeviction unless said'),
});
const None = z.strictObject({});
const Details = z.object({ port: z.number().int(), policy: z.enum(POLICIES) });
type Details = z.infer<typeof Details>;

export interface RedisServiceOptions {
  config: RedisConfig;
  db: Db;
  credentials: Credentials;
  folder: string;
  address: string;
  user: SystemUser;
  around: Surroundings;
}

/** A redis-server for each instance; a binding is a user of its own in it. */
export class Redis implements Service {
  readonly entry: ServiceEntry = {
    id: idOf('redis'),
    name: 'redis',
    description: 'Redis, a server of your own, kept on disk',
    tags: ['redis', 'key-value', 'cache'],
    bindable: true,
    plan_updateable: true,
    instances_retrievable: true,
    bindings_retrievable: true,
    metadata: { displayName: 'Redis', shareable: true },
  };
  readonly plans: readonly Plan[];
  readonly parameters = { provision: Options, update: Options, bind: None };
  readonly #options: RedisServiceOptions;
  readonly #servers = new Map<string, RedisServer>();

  constructor(options: RedisServiceOptions) {
    this.#options = options;
    const parameters = z.toJSONSchema(Options);
    this.plans = options.config.plans.map(({ name, description, memory_mb, clients }) => ({
      id: idOf(`redis/${name}`),
      name,
      description,
      free: true,
      metadata: { bullets: [`${memory_mb} MB`, `${clients} connections`] },
      schemas: { service_instance: { create: { parameters }, update: { parameters } } },
    }));
  }

  async resume(instances: readonly Instance[]): Promise<void> {
    await Promise.all(
      instances.map(async (instance) => {
        try {
          await this.#start(instance, Details.parse(instance.details));
        } catch (error) {
          this.#options.around.log.error({ instance: instance.guid, error: describeError(error) }, 'Redis not started');
        }
      }),
    );
  }

  isHealthy(): boolean {
    return [...this.#servers.values()].every((server) => server.isUp);
  }

  async provision(instance: Instance): Promise<JsonObject> {
    const { ports } = this.#options.config;
    const port = await holdPort(this.#options.db, instance.guid, ports);
    if (port === undefined)
      throw new AppError('ports_exhausted', `all ports of ${ports.first} to ${ports.last} are taken`);
    const details: Details = { port, policy: Options.parse(instance.parameters)['maxmemory-policy'] ?? 'noeviction' };
    await this.#start(instance, details);
    return details;
  }

  async update({ instance, plan, parameters }: Change): Promise<JsonObject> {
    const before = Details.parse(instance.details);
    const details = { ...before, policy: Options.parse(parameters)['maxmemory-policy'] ?? before.policy };
    const server = await this.#serverOf(instance);
    await server.resize(this.#sizeOf({ ...instance, plan }, details));
    return details;
  }

  async deprovision(instance: Instance): Promise<void> {
    // One that was never made whole has no port, and may have a folder.
    const details = Details.safeParse(instance.details).data ?? { port: 0, policy: 'noeviction' };
    const server = this.#servers.get(instance.guid) ?? this.#open(instance, details);
    await server.remove();
    this.#servers.delete(instance.guid);
  }

  async bind(instance: Instance, binding: Binding): Promise<Access> {
    const server = await this.#serverOf(instance);
    await server.admit(this.#userOf(binding.guid), await this.#usersOf(instance.guid));
    return this.access(instance, binding);
  }

  access(instance: Instance, binding: Binding): Access {
    const { port } = Details.parse(instance.details);
    const { username, password } = this.#userOf(binding.guid);
    const host = this.#options.address;
    const uri = `redis://${username}:${password}@${host}:${port}`;
    return { credentials: { uri, hostname: host, host, port, username, password } };
  }

  async unbind(instance: Instance, binding: Binding): Promise<void> {
    const left = await this.#usersOf(instance.guid);
    const { username } = this.#userOf(binding.guid);
    const server = await this.#serverOf(instance);
    await server.expel(
      username,
      left.filter((user) => user.username !== username),
    );
  }

  async describe(instance: Instance): Promise<JsonObject> {
    const { policy } = Details.parse(instance.details);
    const server = await this.#serverOf(instance);
    const info = await server.info();
    return {
      'maxmemory-policy': policy,
      memory_mb: this.#planOf(instance).memory_mb,
      memory_mb_used: Math.round(Number(info.get('used_memory') ?? 0) / 104_857.6) / 10,
      clients: Number(info.get('connected_clients') ?? 0),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#servers.values()].map(async (server) => await server[Symbol.asyncDispose]()));
  }

  async #start(instance: Instance, details: Details): Promise<void> {
    const server = this.#open(instance, details);
    await server.start(await this.#usersOf(instance.guid));
    this.#servers.set(instance.guid, server);
  }

  #open(instance: Instance, details: Details): RedisServer {
    const { folder, address, user, around, credentials } = this.#options;
    const id = shortOf(instance.guid);
    const password = credentials.passwordFor(`redis broker ${instance.guid}`);
    const options = { guid: id, folder: join(folder, id), address, port: details.port, user, password, around };
    return new RedisServer(options, this.#sizeOf(instance, details));
  }

  /** One that could not be started before is tried again. */
  async #serverOf(instance: Instance): Promise<RedisServer> {
    if (!this.#servers.has(instance.guid)) await this.#start(instance, Details.parse(instance.details));
    const server = this.#servers.get(instance.guid);
    if (!server) throw new AppError('redis_absent', 'the server is not there');
    return server;
  }

  #planOf(instance: Instance): RedisConfig['plans'][number] {
    const plan = this.#options.config.plans.find(({ name }) => name === instance.plan.name);
    if (!plan) throw new AppError('plan_unknown', `there is no plan ${instance.plan.name}`);
    return plan;
  }

  #sizeOf(instance: Instance, { policy }: Details): RedisSize {
    const { memory_mb, clients } = this.#planOf(instance);
    return { memory_mb, clients, policy };
  }

  #userOf(binding_guid: string): RedisUser {
    const password = this.#options.credentials.passwordFor(`redis binding ${binding_guid}`);
    return { username: `u_${shortOf(binding_guid)}`, password };
  }

  async #usersOf(instance_guid: string): Promise<RedisUser[]> {
    return (await listBindings(this.#options.db, instance_guid)).map(({ guid }) => this.#userOf(guid));
  }
}
