import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { AppError, describeError } from '#kernel/errors.ts';
import type { Clock } from '#kernel/clock.ts';
import type { Log } from '#kernel/log.ts';
import type { RouterConfig } from './config.ts';

type TlsConfig = NonNullable<RouterConfig['tls']>;

interface Loaded {
  /** All that was read, to see whether it changed. */
  text: string;
  byName: Map<string, SecureContext>;
  first: SecureContextOptions;
  firstContext: SecureContext;
}

/** The certificates that the router shows, by the name asked for; taken in anew when their files change. */
export class Certificates implements Disposable {
  readonly #config: TlsConfig;
  readonly #log: Log;
  #loaded: Loaded;
  readonly #timer: Disposable;

  private constructor(config: TlsConfig, loaded: Loaded, parts: { log: Log; clock: Clock }) {
    this.#config = config;
    this.#log = parts.log;
    this.#loaded = loaded;
    this.#timer = parts.clock.every(config.reload_interval_s * 1000, async () => await this.reload());
  }

  /** Errors: AppError `certificate_invalid`. */
  static async load(config: TlsConfig, parts: { log: Log; clock: Clock }): Promise<Certificates> {
    return new Certificates(config, await load(config), parts);
  }

  /** What a client meets that names no host. */
  get first(): SecureContextOptions {
    return this.#loaded.first;
  }

  /** Called after a change was taken in. */
  onChange: (() => void) | undefined;

  /** For a name from SNI: the exact one, then a wildcard for its left-most label, then the first of all. */
  contextFor(name: string): SecureContext {
    const lower = name.toLowerCase();
    const { byName, firstContext } = this.#loaded;
    return byName.get(lower) ?? byName.get(`*${lower.slice(Math.max(0, lower.indexOf('.')))}`) ?? firstContext;
  }

  /** Takes in changed files. What cannot be used leaves the old ones in place: half-written files are met on the way. */
  async reload(): Promise<void> {
    try {
      const loaded = await load(this.#config, this.#loaded);
      if (loaded === this.#loaded) return;
      this.#loaded = loaded;
      this.onChange?.();
      this.#log.info({ names: [...loaded.byName.keys()] }, 'certificates changed');
    } catch (error) {
      this.#log.warn({ error: describeError(error) }, 'changed certificates cannot be used, the old ones stay');
    }
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }
}

async function load(config: TlsConfig, known?: Loaded): Promise<Loaded> {
  const ca = config.client_ca_file === undefined ? undefined : await readFile(config.client_ca_file, 'utf8');
  const read = config.certificates.map(async ({ cert_file, key_file }): Promise<SecureContextOptions> => {
    try {
      return {
        cert: await readFile(cert_file, 'utf8'),
        key: await readFile(key_file, 'utf8'),
        minVersion: config.min_version,
        ...(ca !== undefined && { ca }),
        ...(config.ciphers !== undefined && { ciphers: config.ciphers }),
      };
    } catch (error) {
      throw new AppError('certificate_invalid', `certificate ${cert_file} with key ${key_file} cannot be read`, {
        cause: error,
      });
    }
  });
  const options = await Promise.all(read);
  const text = JSON.stringify(options);
  if (known?.text === text) return known;
  const byName = new Map<string, SecureContext>();
  const contexts = options.map((one, at) => {
    const context = contextOf(one, config.certificates[at]?.cert_file ?? '');
    for (const name of namesOf(String(one.cert))) if (!byName.has(name)) byName.set(name, context);
    return context;
  });
  const [first] = options;
  const [firstContext] = contexts;
  if (first === undefined || firstContext === undefined)
    throw new AppError('certificate_invalid', 'no certificate is configured');
  return { text, byName, first, firstContext };
}

function contextOf(options: SecureContextOptions, file: string): SecureContext {
  try {
    return createSecureContext(options);
  } catch (error) {
    throw new AppError('certificate_invalid', `certificate ${file} does not fit its key or is none`, { cause: error });
  }
}

function namesOf(cert: string): string[] {
  const alternatives = new X509Certificate(cert).subjectAltName ?? '';
  return alternatives.split(', ').flatMap((entry) => (entry.startsWith('DNS:') ? [entry.slice(4).toLowerCase()] : []));
}
