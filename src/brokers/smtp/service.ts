import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import type { RouteMessage } from '#contracts/router.ts';
import { accepts } from '#kernel/accepts.ts';
import { AppError } from '#kernel/errors.ts';
import type { SmtpConfig } from '../config.ts';
import { type Credentials, idOf } from '../credentials.ts';
import { Engine, type EngineSpec, type Surroundings } from '../engines/engine.ts';
import { type SystemUser, writeOwned } from '../engines/system-user.ts';
import { OneAtATime } from '../osb/one-at-a-time.ts';
import type { Access, Binding, Change, Instance, JsonObject, Plan, Service, ServiceEntry } from '../service.ts';
import { shortOf } from '../short-name.ts';
import { Accounts } from './accounts.ts';
import { BACK_PATH } from './back-path.ts';
import type { CatcherConfig } from './catcher.ts';
import { Mailbox } from './mailbox.ts';

const None = z.strictObject({});
const CLIENT_ID = 'smtp-dashboard';
const PROGRAM = resolve(import.meta.dirname, '../../..');
const MB = 1024 * 1024;

export interface SmtpServiceOptions {
  config: SmtpConfig;
  credentials: Credentials;
  folder: string;
  address: string;
  user: SystemUser;
  around: Surroundings;
}

/**
 * A mail server that sends nothing on: whatever an app sends ends in the box of its instance, where developers read it. One catcher
 * serves all boxes, and runs while there is one.
 */
export class Smtp implements Service {
  readonly entry: ServiceEntry;
  readonly plans: readonly Plan[];
  readonly parameters = { provision: None, update: None, bind: None };
  readonly #options: SmtpServiceOptions;
  readonly #accounts: Accounts;
  readonly #client_secret: string;
  /** Starts and stops of the catcher. */
  readonly #turns = new OneAtATime();
  #engine: Engine | undefined;

  constructor(options: SmtpServiceOptions) {
    this.#options = options;
    this.#accounts = new Accounts(options.folder);
    this.#client_secret = options.credentials.passwordFor('smtp dashboard');
    const { plans, page } = options.config;
    this.entry = {
      id: idOf('smtp'),
      name: 'smtp',
      description: 'A mail server for development: it keeps what apps send, and you read it',
      tags: ['smtp', 'mail'],
      bindable: true,
      plan_updateable: true,
      instances_retrievable: true,
      bindings_retrievable: true,
      metadata: { displayName: 'SMTP', shareable: true },
      ...(page && {
        dashboard_client: {
          id: CLIENT_ID,
          secret: this.#client_secret,
          redirect_uri: `${page.url}${BACK_PATH}`,
        },
      }),
    };
    this.plans = plans.map(({ name, description, messages, size_mb }) => ({
      id: idOf(`smtp/${name}`),
      name,
      description,
      free: true,
      metadata: { bullets: [`${messages} messages`, `${size_mb} MB`] },
    }));
  }

  get routes(): readonly RouteMessage[] {
    const { config, address } = this.#options;
    if (!config.page) return [];
    return [{ host: address, port: config.page.port, uris: [new URL(config.page.url).hostname] }];
  }

  async resume(instances: readonly Instance[]): Promise<void> {
    if (instances.length > 0) await this.#up();
  }

  isHealthy(): boolean {
    return this.#engine?.isUp !== false;
  }

  async provision(instance: Instance): Promise<JsonObject> {
    this.#writeBox(instance);
    await this.#up();
    return {};
  }

  update({ instance, plan }: Change): Promise<JsonObject> {
    this.#writeBox({ ...instance, plan });
    return Promise.resolve(instance.details);
  }

  async deprovision(instance: Instance): Promise<void> {
    this.#accounts.removeBox(shortOf(instance.guid));
    await this.#turns.run('', async () => {
      if (this.#accounts.boxes().length === 0) await this.#stop();
    });
  }

  async bind(instance: Instance, binding: Binding): Promise<Access> {
    const { username, password } = this.#loginOf(binding);
    this.#accounts.writeLogin(username, { box: shortOf(instance.guid), password }, this.#options.user);
    return await Promise.resolve(this.access(instance, binding));
  }

  access(_instance: Instance, binding: Binding): Access {
    const { address: host, config } = this.#options;
    const { username, password } = this.#loginOf(binding);
    const uri = `smtp://${username}:${password}@${host}:${config.port}`;
    return { credentials: { uri, hostname: host, host, port: config.port, username, password } };
  }

  async unbind(_instance: Instance, binding: Binding): Promise<void> {
    this.#accounts.removeLogin(this.#loginOf(binding).username);
    await Promise.resolve();
  }

  async describe({ guid }: Instance): Promise<JsonObject> {
    const mails = await new Mailbox(this.#accounts.mailOf(shortOf(guid))).list();
    return { messages: mails.length, bytes: mails.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  dashboardUrl({ guid }: Instance): string | undefined {
    const { page } = this.#options.config;
    return page && `${page.url}/boxes/${shortOf(guid)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turns.settled();
    await this.#stop();
  }

  async #up(): Promise<void> {
    await this.#turns.run('', async () => {
      if (this.#engine) return;
      const engine = new Engine(this.#spec(), this.#options.around);
      await engine.start();
      this.#engine = engine;
    });
  }

  async #stop(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.stop();
  }

  #writeBox({ guid, plan }: Instance): void {
    const size = this.#options.config.plans.find(({ name }) => name === plan.name);
    if (!size) throw new AppError('plan_unknown', `there is no plan ${plan.name}`);
    const { messages, size_mb } = size;
    this.#accounts.writeBox(shortOf(guid), { guid, messages, size_mb }, this.#options.user);
  }

  #loginOf({ guid }: Binding): { username: string; password: string } {
    return {
      username: `u_${shortOf(guid)}`,
      password: this.#options.credentials.passwordFor(`smtp binding ${guid}`),
    };
  }

  /** Node and our own code are bound to where its user can read them. */
  #spec(): EngineSpec {
    const { config, folder, address, user } = this.#options;
    const [node, program, file] = [join(folder, 'node'), join(folder, 'program'), join(folder, 'catcher.json')];
    mkdirSync(program, { recursive: true });
    writeFileSync(node, '');
    this.#writeConfig(file);
    return {
      name: 'smtp',
      command: node,
      args: ['--max-semi-space-size=1', join(program, 'src/brokers/smtp/catcher.ts'), file],
      binds: [
        { from: process.execPath, to: node },
        { from: PROGRAM, to: program },
      ],
      user,
      limits: { memory_mb: config.memory_mb, pids: 64 },
      stop_signal: 'SIGTERM',
      isReady: async () => await accepts(address, config.port),
    };
  }

  #writeConfig(file: string): void {
    const { config, folder, address, user } = this.#options;
    const { page, port, message_mb, max_clients } = config;
    const content: CatcherConfig = {
      folder,
      address,
      port,
      message_bytes: message_mb * MB,
      max_clients,
      ...(page && {
        page: {
          port: page.port,
          redirect_uri: `${page.url}${BACK_PATH}`,
          sign_in: { ...page.sign_in, client_id: CLIENT_ID, client_secret: this.#client_secret },
        },
      }),
    };
    writeOwned(file, JSON.stringify(content), user);
  }
}
