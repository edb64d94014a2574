/**
 * Route services: a request goes to the service first, signed, and comes back with the signature on its way to the app. The
 * signature is the forwarded url and the time, sealed with AES-256-GCM.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { Answer } from './answers.ts';
import type { RouterConfig } from './config.ts';
import { addressOf, Endpoint } from './endpoint.ts';
import type { RequestHead } from './request-head.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export const routeServiceUnsupported: Answer = {
  status: 502,
  message: 'Support for route services is disabled.',
  routerError: 'route_service_unsupported',
};
export const upgradeUnsupported: Answer = {
  status: 503,
  message: 'Websocket requests are not supported for routes bound to Route Services.',
  routerError: 'route_service_unsupported',
};
export const invalidSignature: Answer = {
  status: 400,
  message: 'Failed to validate Route Service Signature',
  routerError: 'invalid_route_service_signature',
};
const expiredSignature: Answer = {
  status: 504,
  message: 'Failed to validate Route Service Signature',
  routerError: 'expired_route_service_signature',
};

/** Where a request is sent, and what is said with it. */
export interface ServiceCall {
  host: string;
  hostLine: string;
  target: string;
  lines: string;
  endpoint: Endpoint;
}

export class RouteServices {
  readonly #keys: readonly Buffer[];
  readonly #timeout_ms: number;
  readonly hairpin: boolean;
  readonly #endpoints = new Map<string, Endpoint>();

  constructor(config: NonNullable<RouterConfig['route_services']>) {
    const secrets = [config.secret, ...(config.previous_secret === undefined ? [] : [config.previous_secret])];
    this.#keys = secrets.map((secret) => Buffer.from(hkdfSync('sha256', secret, 'route service', 'signature', 32)));
    this.#timeout_ms = config.timeout_s * 1000;
    this.hairpin = config.hairpin;
  }

  endpoints(): Iterable<Endpoint> {
    return this.#endpoints.values();
  }

  /** How the service of this url is called for a request to `forwardedUrl`. */
  call(serviceUrl: string, forwardedUrl: string, now_ms: number): ServiceCall {
    const url = new URL(serviceUrl);
    const { signature, metadata } = this.#sign(forwardedUrl, now_ms);
    return {
      host: url.hostname,
      hostLine: url.host,
      target: `${url.pathname}${url.search}`,
      lines: `X-CF-Forwarded-Url: ${forwardedUrl}\r\nX-CF-Proxy-Signature: ${signature}\r\nX-CF-Proxy-Metadata: ${metadata}\r\n`,
      endpoint: this.#endpointOf(url),
    };
  }

  /** Whether a request that carries a signature has been to the service: undefined when so, else the answer to refuse it with. */
  verify(head: RequestHead, forwardedUrl: string, now_ms: number): Answer | undefined {
    const signed = this.#open(head.proxySignature, head.proxyMetadata);
    if (signed === undefined || signed.forwarded_url !== forwardedUrl) return invalidSignature;
    return now_ms - signed.requested_ms > this.#timeout_ms ? expiredSignature : undefined;
  }

  #sign(forwarded_url: string, requested_ms: number): { signature: string; metadata: string } {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#keys[0] ?? Buffer.alloc(32), nonce);
    const sealed = Buffer.concat([
      cipher.update(JSON.stringify({ forwarded_url, requested_ms })),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
    return { signature: sealed.toString('base64url'), metadata: nonce.toString('base64url') };
  }

  #open(signature: string, metadata: string): { forwarded_url: string; requested_ms: number } | undefined {
    const sealed = Buffer.from(signature, 'base64url');
    const nonce = Buffer.from(metadata, 'base64url');
    if (nonce.length !== NONCE_BYTES || sealed.length <= TAG_BYTES) return undefined;
    for (const key of this.#keys) {
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
        decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
        const text = Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]).toString();
        return JSON.parse(text) as { forwarded_url: string; requested_ms: number };
      } catch {
        // Not sealed with this key; the other may be the one.
      }
    }
    return undefined;
  }

  #endpointOf(url: URL): Endpoint {
    const port = url.port === '' ? 443 : Number(url.port);
    const address = addressOf(url.hostname, port);
    const known = this.#endpoints.get(address);
    if (known !== undefined) return known;
    const endpoint = new Endpoint(
      {
        host: url.hostname,
        port,
        isTls: true,
        isHttp2: false,
        app: '',
        instance_id: '',
        instance_index: '',
        process_id: '',
        server_cert_domain_san: url.hostname,
      },
      address,
    );
    endpoint.routes = 1;
    this.#endpoints.set(address, endpoint);
    return endpoint;
  }
}
