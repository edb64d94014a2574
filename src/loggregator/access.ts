import { createHash } from 'node:crypto';
import type { JSONWebKeySet } from 'jose';
import type { Revocation } from '#contracts/uaa.ts';
import { TokenInvalid, TokenVerifier, type TokenClaims } from '#http/token-verifier.ts';
import type { Clock } from '#kernel/clock.ts';
import { AppError } from '#kernel/errors.ts';

export class AccessUnknown extends AppError {
  constructor(options?: ErrorOptions) {
    super('access_unknown', 'the cloud controller cannot be asked about the permission', options);
  }
}

export interface AccessOptions {
  clock: Clock;
  uaa: { url: string; issuer: string; audiences: readonly string[]; timeout_ms: number };
  cc_url: string;
  allowed_ttl_s: number;
  refused_ttl_s: number;
  timeout_ms: number;
}

/** Who asks: anonymous, or a token that was verified. */
export interface Reader {
  readonly token: string;
  readonly claims: TokenClaims;
  /** May read every source. */
  readonly isAdmin: boolean;
}

const ADMIN_SCOPES = ['doppler.firehose', 'logs.admin', 'cloud_controller.admin', 'cloud_controller.admin_read_only'];
const MAX_ANSWERS = 20_000;

/**
 * Who may read which source: admins all, everybody else the apps that the cloud controller grants, whose answers are kept for a
 * while. Source of the rule: log-cache's cf-auth-proxy.
 */
export class Access {
  readonly #options: AccessOptions;
  readonly #verifiers: readonly TokenVerifier[];
  readonly #answers = new Map<string, { isAllowed: boolean; until_ms: number }>();
  readonly #asking = new Map<string, Promise<boolean>>();

  constructor(options: AccessOptions) {
    this.#options = options;
    const { url, issuer, audiences, timeout_ms } = options.uaa;
    let fetched: { keys: Promise<JSONWebKeySet>; at_ms: number } | undefined;
    const fetchKeys = async (): Promise<JSONWebKeySet> => {
      // Each audience has a verifier of its own; one fetch serves them all.
      const now = options.clock.monotonic();
      if (!fetched || now - fetched.at_ms > 1_000) fetched = { keys: fetchTokenKeys(url, timeout_ms), at_ms: now };
      return await fetched.keys;
    };
    this.#verifiers = audiences.map(
      (audience) => new TokenVerifier({ fetchKeys, issuer, audience, clock: options.clock }),
    );
  }

  /** Refuses tokens that the UAA revoked. */
  refuse(revocation: Revocation): void {
    for (const verifier of this.#verifiers) verifier.refuse(revocation);
  }

  /** Undefined without a token, or with one that is not good. Errors: KeysUnavailable. */
  async reader(authorization: string | undefined): Promise<Reader | undefined> {
    const token = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    for (const verifier of this.#verifiers) {
      try {
        const claims = await verifier.verify(token);
        return { token, claims, isAdmin: claims.scope.some((scope) => ADMIN_SCOPES.includes(scope)) };
      } catch (error) {
        if (!(error instanceof TokenInvalid)) throw error;
      }
    }
    return undefined;
  }

  /** Errors: AccessUnknown. */
  async mayRead(reader: Reader, source_id: string): Promise<boolean> {
    if (reader.isAdmin) return true;
    // Apps have guids; anything else is a component's name and nobody's but the admins'.
    if (!/^[\w-]{1,200}$/.test(source_id)) return false;
    const key = createHash('sha256').update(`${reader.token}\n${source_id}`).digest('base64');
    const known = this.#answers.get(key);
    if (known && known.until_ms > this.#options.clock.monotonic()) return known.isAllowed;
    let asking = this.#asking.get(key);
    if (!asking) {
      asking = this.#ask(reader.token, source_id).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    const isAllowed = await asking;
    this.#remember(key, isAllowed);
    return isAllowed;
  }

  async #ask(token: string, source_id: string): Promise<boolean> {
    let response: Response;
    try {
      const url = new URL(`/internal/v4/log_access/${encodeURIComponent(source_id)}`, this.#options.cc_url);
      response = await fetch(url, {
        headers: { authorization: `bearer ${token}` },
        signal: AbortSignal.timeout(this.#options.timeout_ms),
      });
      await response.body?.cancel();
    } catch (error) {
      throw new AccessUnknown({ cause: error });
    }
    if (response.status >= 500) {
      throw new AccessUnknown({ cause: new Error(`log_access answered ${response.status}`) });
    }
    return response.status === 200;
  }

  #remember(key: string, isAllowed: boolean): void {
    const { allowed_ttl_s, refused_ttl_s, clock } = this.#options;
    const [oldest] = this.#answers.keys();
    if (this.#answers.size >= MAX_ANSWERS && oldest !== undefined) this.#answers.delete(oldest);
    this.#answers.delete(key);
    const ttl_ms = (isAllowed ? allowed_ttl_s : refused_ttl_s) * 1000;
    this.#answers.set(key, { isAllowed, until_ms: clock.monotonic() + ttl_ms });
  }
}

async function fetchTokenKeys(uaa_url: string, timeout_ms: number): Promise<JSONWebKeySet> {
  const response = await fetch(new URL('/token_keys', uaa_url), { signal: AbortSignal.timeout(timeout_ms) });
  if (!response.ok) throw new Error(`/token_keys answered ${response.status}`);
  return (await response.json()) as JSONWebKeySet;
}
