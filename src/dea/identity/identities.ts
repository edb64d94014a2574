import { X509Certificate } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StartMessage } from '#contracts/dea.ts';
import type { CreateRequest } from '#contracts/warden.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError, systemErrorCode } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { DeaConfig } from '../config.ts';
import type { InstanceRecord } from '../store.ts';
import { type Authority, type Identity, issue, readAuthority } from './certificate.ts';

const CREDENTIALS = '/etc/cf-instance-credentials';
const SYSTEM_CERTIFICATES = '/etc/cf-system-certificates';
const CERTIFICATE = 'instance.crt';
const KEY = 'instance.key';
const MAX_LOOK_MS = 60_000;
/** Of a certificate's life, between two looks. */
const LOOK_SHARE = 20;

/** Of the environment of every process that has an identity. */
export const IDENTITY_ENVIRONMENT: readonly [string, string][] = [
  ['CF_INSTANCE_CERT', `${CREDENTIALS}/${CERTIFICATE}`],
  ['CF_INSTANCE_KEY', `${CREDENTIALS}/${KEY}`],
  ['CF_SYSTEM_CERT_PATH', SYSTEM_CERTIFICATES],
];

/** An app that says so in this variable listens with its credentials, on the port that it was given. */
const SPEAKS_TLS = 'CF_INSTANCE_TLS';

export const speaksTls = ({ env }: StartMessage): boolean =>
  env.some(([name, value]) => name === SPEAKS_TLS && value === 'true');

export function identityOf(start: StartMessage, address: string): Identity {
  const guid = (name: string): string => {
    const value = start.vcap_application[name];
    return typeof value === 'string' ? value : '';
  };
  return {
    instance: start.instance,
    app: start.app,
    space: guid('space_id'),
    organization: guid('organization_id'),
    address,
  };
}

export interface IdentitiesOptions {
  config: NonNullable<DeaConfig['instance_identity']>;
  /** Of this DEA; a folder for each instance in it, with its credentials. */
  folder: string;
  clock: Clock;
  log: Log;
  /** Instances that may have a folder from before; all others' are removed. */
  known: readonly string[];
  /** Who is here now, with their addresses. */
  living: () => readonly Identity[];
}

/**
 * Who an instance is, as a key and a certificate in its container, where they are made anew long before they expire: both files are
 * replaced by renaming, the key first, within a folder that the container sees.
 */
export class Identities implements Disposable {
  readonly #options: IdentitiesOptions;
  readonly #authority: Authority;
  readonly #ca: string;
  readonly #timer: Disposable;

  private constructor(options: IdentitiesOptions, authority: Authority, ca: string) {
    this.#options = options;
    this.#authority = authority;
    this.#ca = ca;
    const look_ms = Math.min(MAX_LOOK_MS, (options.config.validity_h * 3_600_000) / LOOK_SHARE);
    this.#timer = options.clock.every(look_ms, async () => await this.renew());
  }

  /** Errors: AuthorityUnfit; what reading its files gives. */
  static async open(options: IdentitiesOptions): Promise<Identities> {
    const { folder, config } = options;
    const ca = await readFile(config.ca_cert_file, 'utf8');
    const authority = readAuthority(ca, await readFile(config.ca_key_file, 'utf8'));
    const identities = new Identities(options, authority, ca);
    // World-readable, since an image may run as anyone; nobody of the host gets as far as here.
    const trusted = join(folder, 'trusted');
    await mkdir(trusted, { recursive: true, mode: 0o755 });
    for (const [n, file] of [config.ca_cert_file, ...config.trusted_ca_files].entries())
      await cp(file, join(trusted, `trusted-ca-${n + 1}.crt`));
    const known = new Set(options.known);
    for (const name of await readdir(join(folder, 'instances')).catch(() => []))
      if (!known.has(name)) await identities.forget(name);
    return identities;
  }

  /** What its container is to see, made ready; what is in it comes by `give`. */
  async mounts(instance: string): Promise<NonNullable<CreateRequest['bind_mounts']>> {
    const src_path = this.#folder(instance);
    await mkdir(src_path, { recursive: true, mode: 0o755 });
    return [
      { src_path, dst_path: CREDENTIALS, mode: 'ro' },
      { src_path: join(this.#options.folder, 'trusted'), dst_path: SYSTEM_CERTIFICATES, mode: 'ro' },
    ];
  }

  /** Makes its credentials, before any process of it runs. */
  async give(identity: Identity): Promise<void> {
    const now_ms = this.#options.clock.now();
    const until_ms = now_ms + this.#options.config.validity_h * 3_600_000;
    const { certificate, key } = await issue(this.#authority, identity, { from_ms: now_ms, until_ms });
    const place = (name: string): string => join(this.#folder(identity.instance), name);
    await Promise.all([
      writeFile(place(`.${KEY}`), key, { mode: 0o644 }),
      // The authority's own follows, for those who send the whole file.
      writeFile(place(`.${CERTIFICATE}`), certificate + this.#ca, { mode: 0o644 }),
    ]);
    await rename(place(`.${KEY}`), place(KEY));
    await rename(place(`.${CERTIFICATE}`), place(CERTIFICATE));
  }

  /** Gives new credentials to all whose own are past half their life. */
  async renew(): Promise<void> {
    const { living, clock, config, log } = this.#options;
    for (const identity of living()) {
      try {
        const expires_ms = await this.#expiry(identity.instance);
        if (expires_ms === undefined || expires_ms - clock.now() > config.validity_h * 1_800_000) continue;
        await this.give(identity);
        log.info({ instance: identity.instance }, 'instance identity renewed');
      } catch (error) {
        log.warn({ instance: identity.instance, error: describeError(error) }, 'instance identity not renewed');
      }
    }
  }

  async forget(instance: string): Promise<void> {
    await rm(this.#folder(instance), { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }

  #folder(instance: string): string {
    return join(this.#options.folder, 'instances', instance);
  }

  /** Undefined for one that has no credentials: it began before there were any. */
  async #expiry(instance: string): Promise<number | undefined> {
    try {
      return Date.parse(new X509Certificate(await readFile(join(this.#folder(instance), CERTIFICATE))).validTo);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }
}

/** Those of a whole DEA, where its configuration names an authority. Errors: as Identities.open. */
export async function openIdentities(of: {
  config: Pick<DeaConfig, 'base_dir' | 'instance_identity'>;
  clock: Clock;
  log: Log;
  instances: () => readonly { record: InstanceRecord }[];
  known: readonly InstanceRecord[];
}): Promise<Identities | undefined> {
  const { config, clock, log } = of;
  if (!config.instance_identity) return undefined;
  return await Identities.open({
    config: config.instance_identity,
    folder: join(config.base_dir, 'identity'),
    clock,
    log,
    known: of.known.map(({ start }) => start.instance),
    living: () =>
      of
        .instances()
        .flatMap(({ record: { start, network } }) => (network ? [identityOf(start, network.container_ip)] : [])),
  });
}
