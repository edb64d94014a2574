import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { accepts } from '#kernel/accepts.ts';
import { AppError } from '#kernel/errors.ts';
import type { NatsConfig } from '../config.ts';
import { Engine, type EngineSpec, type Surroundings } from '../engines/engine.ts';
import { ownFolder, type SystemUser, writeOwned } from '../engines/system-user.ts';
import { OneAtATime } from '../osb/one-at-a-time.ts';
import { mayConnect } from './client.ts';

export interface NatsServerOptions {
  config: NatsConfig;
  folder: string;
  address: string;
  user: SystemUser;
  around: Surroundings;
}

/** An account as nats-server's configuration has it: an instance, whose users are its bindings. */
const Account = z.object({
  users: z.array(z.object({ user: z.string(), password: z.string() })),
  jetstream: z.object({
    max_memory: z.number(),
    max_file: z.number(),
    max_streams: z.number(),
    max_consumers: z.number(),
  }),
  limits: z.object({ max_connections: z.number() }),
});
export type Account = z.infer<typeof Account>;
type User = Account['users'][number];

const MB = 1024 * 1024;
const POLL_MS = 25;
const RELOAD_LIMIT_MS = 15_000;

/**
 * The tenants' nats-server, beside the platform's own bus: an account for each instance, which sees nothing of the others. What an
 * account is stands in a file of its own; the server's configuration is made of all of them, and read anew while it runs.
 */
export class TenantsNats implements AsyncDisposable {
  readonly #options: NatsServerOptions;
  readonly #turns = new OneAtATime();
  #engine: Engine | undefined;

  constructor(options: NatsServerOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#engine?.isUp !== false;
  }

  /** Starts it, or takes over the one that runs. Errors: EngineFailed. */
  async up(): Promise<void> {
    await this.#turns.run('', async () => await this.#up());
  }

  /** Makes an account as it is to be, or changes it; returns when the server has it so. Errors: `nats_not_reloaded`; EngineFailed. */
  async setAccount(name: string, account: Account): Promise<void> {
    await this.#turns.run('', async () => {
      mkdirSync(this.#accounts, { recursive: true, mode: 0o700 });
      writeOwned(this.#fileOf(name), JSON.stringify(account), this.#options.user);
      await this.#up();
      await this.#reload();
    });
  }

  /** Removes an account with all that its streams hold; the last one's end is the server's. */
  async removeAccount(name: string): Promise<void> {
    await this.#turns.run('', async () => {
      rmSync(this.#fileOf(name), { force: true });
      if (this.#names().length > 0) {
        await this.#up();
        await this.#reload();
      } else {
        const engine = this.#engine;
        this.#engine = undefined;
        await engine?.stop();
      }
      rmSync(join(this.#store, 'jetstream', name), { recursive: true, force: true });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turns.settled();
    await this.#engine?.stop();
  }

  get #accounts(): string {
    return join(this.#options.folder, 'accounts');
  }

  get #store(): string {
    return join(this.#options.folder, 'store');
  }

  get #configFile(): string {
    return join(this.#options.folder, 'nats.json');
  }

  #fileOf(name: string): string {
    return join(this.#accounts, `${name}.json`);
  }

  #names(): string[] {
    mkdirSync(this.#accounts, { recursive: true, mode: 0o700 });
    return readdirSync(this.#accounts).flatMap((file) => (file.endsWith('.json') ? [file.slice(0, -5)] : []));
  }

  #read(name: string): Account | undefined {
    try {
      return Account.parse(JSON.parse(readFileSync(this.#fileOf(name), 'utf8')));
    } catch {
      return undefined;
    }
  }

  async #up(): Promise<void> {
    if (this.#engine) return;
    ownFolder(this.#options.folder, this.#options.user);
    this.#writeConfig();
    const engine = new Engine(this.#spec(), this.#options.around);
    await engine.start();
    this.#engine = engine;
  }

  /**
   * Has the server read its configuration, and waits until it has: nobody is told of a login that does not work yet, nor that one has
   * ended which still works. Each configuration has a user of its own by whom that is seen. Errors: `nats_not_reloaded`.
   */
  async #reload(): Promise<void> {
    const { clock } = this.#options.around;
    const end = clock.monotonic() + RELOAD_LIMIT_MS;
    const newest = this.#writeConfig();
    this.#engine?.signal('SIGHUP');
    while (!(await this.#admits(newest))) {
      if (clock.monotonic() > end) throw new AppError('nats_not_reloaded', 'nats-server did not take the change over');
      await clock.sleep(POLL_MS);
    }
  }

  #writeConfig(): User {
    const { address, config, user } = this.#options;
    // Without any user nats-server would let everybody in.
    const broker: User = { user: `broker_${randomUUID()}`, password: randomUUID() };
    const content = {
      listen: `${address}:${config.port}`,
      server_name: 'services',
      max_payload: config.payload_mb * MB,
      jetstream: {
        store_dir: this.#store,
        max_memory_store: (config.memory_mb / 4) * MB,
        max_file_store: config.disk_mb * MB,
      },
      accounts: {
        broker: { users: [broker] },
        ...Object.fromEntries(this.#names().map((name) => [name, this.#read(name)])),
      },
    };
    writeOwned(this.#configFile, JSON.stringify(content), user);
    return broker;
  }

  #spec(): EngineSpec {
    const { config, user, address } = this.#options;
    return {
      name: 'nats',
      command: 'nats-server',
      args: ['-c', this.#configFile],
      user,
      limits: { memory_mb: config.memory_mb, pids: 64 },
      stop_signal: 'SIGTERM',
      isReady: async () => await accepts(address, config.port),
    };
  }

  async #admits({ user, password }: User): Promise<boolean> {
    const { address: host, config } = this.#options;
    return await mayConnect({ host, port: config.port, username: user, password });
  }
}
