import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Engine, type EngineSpec, type Surroundings } from '../engines/engine.ts';
import { ownFolder, type SystemUser, writeOwned } from '../engines/system-user.ts';
import { redis, type RedisLogin } from './client.ts';

export interface RedisOptions {
  guid: string;
  folder: string;
  address: string;
  port: number;
  user: SystemUser;
  /** Of the broker itself. */
  password: string;
  around: Surroundings;
}

export interface RedisSize {
  memory_mb: number;
  clients: number;
  policy: string;
}

/** One who may log in: a binding. */
export interface RedisUser {
  username: string;
  password: string;
}

const BROKER = 'broker';
/** All that tenants need, and nothing that reaches the server, its files, other hosts or other users. */
const TENANT_MAY = [
  '~*',
  '&*',
  '+@all',
  '-@admin',
  '-@dangerous',
  '+info',
  '+keys',
  '+sort',
  '+sort_ro',
  '+flushdb',
].concat(['+flushall', '+swapdb', '+lastsave', '+role']);

/** One redis-server of one instance, with files of its own. */
export class RedisServer implements AsyncDisposable {
  readonly #options: RedisOptions;
  readonly #engine: Engine;
  #size: RedisSize;

  constructor(options: RedisOptions, size: RedisSize) {
    this.#options = options;
    this.#size = size;
    this.#engine = new Engine(this.#spec(), options.around);
  }

  get isUp(): boolean {
    return this.#engine.isUp;
  }

  /** Starts it with these users, or takes over the one that runs. Errors: EngineFailed. */
  async start(users: readonly RedisUser[]): Promise<void> {
    ownFolder(this.#options.folder, this.#options.user);
    this.#writeConfig();
    this.#writeUsers(users);
    await this.#engine.start();
  }

  /** Changes what it may hold, without a restart. */
  async resize(size: RedisSize): Promise<void> {
    this.#size = size;
    this.#writeConfig();
    this.#engine.change(this.#spec());
    await redis(
      this.#login,
      ['CONFIG', 'SET', 'maxmemory', `${size.memory_mb}mb`],
      ['CONFIG', 'SET', 'maxclients', String(size.clients)],
      ['CONFIG', 'SET', 'maxmemory-policy', size.policy],
    );
  }

  /** Lets one more in. It is on disk first, so that a restart between the two leaves it in. */
  async admit(user: RedisUser, users: readonly RedisUser[]): Promise<void> {
    this.#writeUsers(users);
    await redis(this.#login, ['ACL', 'SETUSER', user.username, 'reset', ...rulesOf(user)]);
  }

  /** Shuts one out, and cuts its connections. */
  async expel(username: string, left: readonly RedisUser[]): Promise<void> {
    this.#writeUsers(left);
    await redis(this.#login, ['ACL', 'DELUSER', username]);
  }

  async info(): Promise<Map<string, string>> {
    const [text = ''] = await redis(this.#login, ['INFO']);
    return new Map(text.split('\r\n').map((line) => [line.split(':')[0] ?? '', line.slice(line.indexOf(':') + 1)]));
  }

  /** Ends it and removes all that it holds. */
  async remove(): Promise<void> {
    await this.#engine.stop();
    rmSync(this.#options.folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine.stop();
  }

  get #login(): RedisLogin {
    const { address, port, password } = this.#options;
    return { host: address, port, username: BROKER, password };
  }

  #spec(): EngineSpec {
    return {
      name: `redis-${this.#options.guid}`,
      command: 'redis-server',
      args: [join(this.#options.folder, 'redis.conf')],
      user: this.#options.user,
      // Redis forks to write its file anew, and may need up to twice its data for it.
      limits: { memory_mb: this.#size.memory_mb * 2 + 64, pids: 32 },
      stop_signal: 'SIGTERM',
      isReady: async () => {
        try {
          return (await redis(this.#login, ['PING']))[0] === 'PONG';
        } catch {
          return false;
        }
      },
    };
  }

  #writeConfig(): void {
    const { address, port, folder } = this.#options;
    const { memory_mb, clients, policy } = this.#size;
    const settings: [string, string | number][] = [
      ['bind', address],
      ['port', port],
      ['protected-mode', 'no'],
      ['dir', folder],
      ['aclfile', join(folder, 'users.acl')],
      // A write that was answered may be lost for a second, as Redis's own default has it.
      ['appendonly', 'yes'],
      ['save', '""'],
      ['maxmemory', `${memory_mb}mb`],
      ['maxmemory-policy', policy],
      ['maxclients', clients],
      ['databases', 16],
    ];
    this.#write('redis.conf', settings.map(([key, value]) => `${key} ${value}`).join('\n'));
  }

  #writeUsers(users: readonly RedisUser[]): void {
    const { password } = this.#options;
    const lines = users.map((user) => ['user', user.username, ...rulesOf(user)].join(' '));
    this.#write(
      'users.acl',
      ['user default off', `user ${BROKER} on #${digest(password)} ~* &* +@all`, ...lines].join('\n'),
    );
  }

  #write(name: string, text: string): void {
    writeOwned(join(this.#options.folder, name), `${text}\n`, this.#options.user);
  }
}

const rulesOf = ({ password }: RedisUser): string[] => ['on', `#${digest(password)}`, ...TENANT_MAY];
const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
