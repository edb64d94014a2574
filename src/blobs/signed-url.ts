import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '#kernel/clock.ts';
import { checkBlobName, type Bucket } from './blobstore.ts';

export interface BlobGrant {
  method: 'GET' | 'PUT';
  bucket: Bucket;
  key: string;
}

/**
 * Makes and judges URLs `<base>/internal/blobs/<bucket>/<key>?expires=<s>&signature=<hex>` whose signature is the permission
 * to read or write that one blob until then: HMAC-SHA-256 over method, bucket, key and expiry.
 */
export class BlobUrlSigner {
  readonly #base_url: string;
  readonly #secret: string;
  readonly #clock: Clock;

  constructor(options: { base_url: string; secret: string; clock: Clock }) {
    this.#base_url = options.base_url.replace(/\/+$/, '');
    this.#secret = options.secret;
    this.#clock = options.clock;
  }

  /** Errors: BlobNameInvalid. */
  sign(grant: BlobGrant, valid_for_s: number): string {
    checkBlobName(grant.bucket, grant.key);
    const expires = Math.floor(this.#clock.now() / 1000) + valid_for_s;
    const signature = this.#signature(grant, expires).toString('hex');
    return `${this.#base_url}/internal/blobs/${grant.bucket}/${grant.key}?expires=${expires}&signature=${signature}`;
  }

  /** Whether `expires` and `signature`, as they stand in a URL, permit this. */
  isGranted(grant: BlobGrant, given: { expires: string; signature: string }): boolean {
    if (!/^\d{1,12}$/.test(given.expires) || !/^[0-9a-f]{64}$/.test(given.signature)) return false;
    const expected = this.#signature(grant, Number(given.expires));
    const isSigned = timingSafeEqual(expected, Buffer.from(given.signature, 'hex'));
    return isSigned && Number(given.expires) * 1000 > this.#clock.now();
  }

  #signature(grant: BlobGrant, expires: number): Buffer {
    return createHmac('sha256', this.#secret)
      .update([grant.method, grant.bucket, grant.key, expires].join('\n'))
      .digest();
  }
}
