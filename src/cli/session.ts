import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { CommandError } from './errors.ts';

/**
 * The session of `cf`, in the very file and form of the public CLI, so that both share one: `$CF_HOME/.cf/config.json`. Fields
 * that we do not know are kept. Source: cloudfoundry/cli util/configv3/json_config.go.
 */
const SessionFile = z.looseObject({
  ConfigVersion: z.number().default(4),
  Target: z.string().default(''),
  APIVersion: z.string().default(''),
  AuthorizationEndpoint: z.string().default(''),
  UaaEndpoint: z.string().default(''),
  LogCacheEndPoint: z.string().default(''),
  DopplerEndPoint: z.string().default(''),
  RoutingAPIEndpoint: z.string().default(''),
  NetworkPolicyV1Endpoint: z.string().default(''),
  AccessToken: z.string().default(''),
  RefreshToken: z.string().default(''),
  UAAOAuthClient: z.string().default('cf'),
  UAAOAuthClientSecret: z.string().default(''),
  UAAGrantType: z.string().default(''),
  SSHOAuthClient: z.string().default(''),
  SSLDisabled: z.boolean().default(false),
  ColorEnabled: z.string().default(''),
  AsyncTimeout: z.number().default(0).describe('minutes'),
  OrganizationFields: z.looseObject({ GUID: z.string(), Name: z.string() }).default({ GUID: '', Name: '' }),
  SpaceFields: z
    .looseObject({ GUID: z.string(), Name: z.string(), AllowSSH: z.boolean().default(true) })
    .default({ GUID: '', Name: '', AllowSSH: true }),
});
export type SessionData = z.infer<typeof SessionFile>;

export class Session {
  readonly #path: string;
  #data: SessionData;

  private constructor(path: string, data: SessionData) {
    this.#path = path;
    this.#data = data;
  }

  /** Reads the session of this user; a new one when there is none. Errors: CommandError when the file is not JSON. */
  static load(environment: NodeJS.ProcessEnv): Session {
    const path = join(environment['CF_HOME'] ?? homedir(), '.cf', 'config.json');
    if (!existsSync(path)) return new Session(path, SessionFile.parse({}));
    try {
      const text = readFileSync(path, 'utf8');
      return new Session(path, SessionFile.parse(text.trim() === '' ? {} : JSON.parse(text)));
    } catch (error) {
      throw new CommandError(`The session file ${path} cannot be read. Remove it and log in again.`, { cause: error });
    }
  }

  get data(): Readonly<SessionData> {
    return this.#data;
  }

  /** Changes fields and writes the file whole: another cf at the same time sees the old or the new, never a half. */
  update(change: Partial<SessionData>): void {
    this.#data = { ...this.#data, ...change };
    mkdirSync(join(this.#path, '..'), { recursive: true, mode: 0o700 });
    const unfinished = `${this.#path}.${process.pid}`;
    writeFileSync(unfinished, `${JSON.stringify(this.#data, undefined, 2)}\n`, { mode: 0o600 });
    renameSync(unfinished, this.#path);
  }

  clearTarget(): void {
    this.update({ OrganizationFields: { GUID: '', Name: '' }, SpaceFields: { GUID: '', Name: '', AllowSSH: false } });
  }

  logOut(): void {
    this.update({ AccessToken: '', RefreshToken: '', UAAGrantType: '' });
    this.clearTarget();
  }

  /** The claims of the access token, unverified: for showing who is logged in and when it ends. */
  get claims(): { user_name?: string; client_id?: string; user_id?: string; origin?: string; exp?: number } {
    const payload = this.#data.AccessToken.split('.')[1];
    if (payload === undefined) return {};
    try {
      return JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as ReturnType<() => Session['claims']>;
    } catch {
      return {};
    }
  }

  get userName(): string {
    return this.claims.user_name ?? this.claims.client_id ?? '';
  }
}
