import { z } from 'zod';
import { AppError } from '#kernel/errors.ts';
import type { NatsConfig } from '../config.ts';
import { type Credentials, idOf } from '../credentials.ts';
import type { Surroundings } from '../engines/engine.ts';
import type { SystemUser } from '../engines/system-user.ts';
import type { Access, Binding, Change, Instance, JsonObject, Plan, Service, ServiceEntry } from '../service.ts';
import { shortOf } from '../short-name.ts';
import { listBindings } from '../store.ts';
import type { Db } from '../tables.ts';
import type { NatsLogin } from './client.ts';
import { type Account, TenantsNats } from './server.ts';

const None = z.strictObject({});
const MB = 1024 * 1024;
const CONSUMERS_OF_A_STREAM = 10;

export interface NatsServiceOptions {
  config: NatsConfig;
  db: Db;
  credentials: Credentials;
  folder: string;
  address: string;
  user: SystemUser;
  around: Surroundings;
}

/** An account on a nats-server for each instance; a binding is a user of it. */
export class Nats implements Service {
  readonly entry: ServiceEntry = {
    id: idOf('nats'),
    name: 'nats',
    description: 'NATS, an account of your own with JetStream',
    tags: ['nats', 'jetstream', 'messaging'],
    bindable: true,
    plan_updateable: true,
    instances_retrievable: true,
    bindings_retrievable: true,
    metadata: { displayName: 'NATS', shareable: true },
  };
  readonly plans: readonly Plan[];
  readonly parameters = { provision: None, update: None, bind: None };
  readonly #options: NatsServiceOptions;
  readonly #server: TenantsNats;

  constructor(options: NatsServiceOptions) {
    this.#options = options;
    this.#server = new TenantsNats(options);
    this.plans = options.config.plans.map(({ name, description, connections, stream_disk_mb }) => ({
      id: idOf(`nats/${name}`),
      name,
      description,
      free: true,
      metadata: { bullets: [`${connections} connections`, `streams of ${stream_disk_mb} MB`] },
    }));
  }

  async resume(instances: readonly Instance[]): Promise<void> {
    if (instances.length > 0) await this.#server.up();
  }

  isHealthy(): boolean {
    return this.#server.isUp;
  }

  async provision(instance: Instance): Promise<JsonObject> {
    await this.#set(instance, []);
    return {};
  }

  async update({ instance, plan, bindings }: Change): Promise<JsonObject> {
    await this.#set({ ...instance, plan }, bindings);
    return instance.details;
  }

  async deprovision({ guid }: Instance): Promise<void> {
    await this.#server.removeAccount(accountOf(guid));
  }

  async bind(instance: Instance, binding: Binding): Promise<Access> {
    await this.#set(instance, [...(await this.#othersThan(binding, instance)), binding]);
    return this.access(instance, binding);
  }

  access(_instance: Instance, binding: Binding): Access {
    const { host, port, username, password } = this.#loginOf(binding);
    const uri = `nats://${username}:${password}@${host}:${port}`;
    return { credentials: { uri, hostname: host, host, port, username, password } };
  }

  async unbind(instance: Instance, binding: Binding): Promise<void> {
    await this.#set(instance, await this.#othersThan(binding, instance));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }

  async #othersThan(binding: Binding, instance: Instance): Promise<{ guid: string }[]> {
    return (await listBindings(this.#options.db, instance.guid)).filter(({ guid }) => guid !== binding.guid);
  }

  async #set(instance: Instance, bindings: readonly { guid: string }[]): Promise<void> {
    const size = this.#options.config.plans.find(({ name }) => name === instance.plan.name);
    if (!size) throw new AppError('plan_unknown', `there is no plan ${instance.plan.name}`);
    const account: Account = {
      users: bindings.map((binding) => {
        const { username: user, password } = this.#loginOf(binding);
        return { user, password };
      }),
      jetstream: {
        max_memory: size.stream_memory_mb * MB,
        max_file: size.stream_disk_mb * MB,
        max_streams: size.streams,
        max_consumers: size.streams * CONSUMERS_OF_A_STREAM,
      },
      limits: { max_connections: size.connections },
    };
    await this.#server.setAccount(accountOf(instance.guid), account);
  }

  #loginOf({ guid }: { guid: string }): NatsLogin {
    const { address: host, config, credentials } = this.#options;
    const username = `u_${shortOf(guid)}`;
    return { host, port: config.port, username, password: credentials.passwordFor(`nats binding ${guid}`) };
  }
}

const accountOf = (guid: string): string => `a_${shortOf(guid)}`;
