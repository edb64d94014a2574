import type { Readable } from 'node:stream';
import { AppError } from '#kernel/errors.ts';

/** Packages, droplets and staging caches, buildpacks, and the files of packages by their SHA-1. */
export const CC_BUCKETS = ['cc-packages', 'cc-droplets', 'cc-buildpacks', 'cc-resources'] as const;
const BUCKETS = [...CC_BUCKETS, 'service-backups'] as const;
export type Bucket = (typeof BUCKETS)[number];

export class BlobNotFound extends AppError {
  constructor(bucket: string, key: string, options?: ErrorOptions) {
    super('blob_not_found', `no blob ${key} in ${bucket}`, options);
  }
}

/** A bucket or key that is none: from a URL, or a fault of ours. */
export class BlobNameInvalid extends AppError {
  constructor(name: string, options?: ErrorOptions) {
    super('blob_name_invalid', `${JSON.stringify(name)} cannot name a blob`, options);
  }
}

export class BlobTooLarge extends AppError {
  readonly max_bytes: number;
  constructor(max_bytes: number, options?: ErrorOptions) {
    super('blob_too_large', `the upload is larger than ${max_bytes} bytes`, options);
    this.max_bytes = max_bytes;
  }
}

/** The store would run out of space: uploads are refused while there is still room for the rest of the machine. */
export class BlobstoreFull extends AppError {
  constructor(free_bytes: number, options?: ErrorOptions) {
    super('blobstore_full', `the blobstore has only ${Math.floor(free_bytes / 1048576)} MB left`, options);
  }
}

/** The store cannot be reached or will not serve: worth another try later. */
export class BlobstoreUnavailable extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('blobstore_unavailable', message, options);
  }
}

export interface StoredBlob {
  /** Bytes. */
  size: number;
  /** Hex. */
  sha256: string;
  sha1: string;
}

export interface BlobInfo {
  key: string;
  size: number;
  modified_at: Date;
}

export interface BlobReading {
  stream: Readable;
  /** Bytes of `stream`: the whole blob, or the range asked for. */
  size: number;
  /** Bytes of the whole blob. */
  total_size: number;
}

/** Both ends inclusive, as in a Range header. */
export interface ByteRange {
  start: number;
  end: number;
}

/**
 * Whole blobs by bucket and key. A blob is there with all its bytes or not at all, whatever dies meanwhile.
 * Errors of each verb: BlobNameInvalid, BlobstoreUnavailable.
 */
export interface Blobstore extends AsyncDisposable {
  /** Replaces what has the key. A source that breaks leaves the store as it was. Errors: BlobTooLarge, BlobstoreFull, the source's own. */
  put(bucket: Bucket, key: string, source: Readable, limits: { max_bytes: number }): Promise<StoredBlob>;
  /** Errors: BlobNotFound. */
  get(bucket: Bucket, key: string, range?: ByteRange): Promise<BlobReading>;
  /** The whole of a small blob. Errors: BlobNotFound. */
  read(bucket: Bucket, key: string): Promise<Buffer>;
  /**
   * Keeps small bytes that can be had again: the machine's power may take them, or leave others in their place, which is
   * for the reader to see. Errors: BlobstoreFull.
   */
  keep(bucket: Bucket, key: string, bytes: Buffer): Promise<void>;
  head(bucket: Bucket, key: string): Promise<BlobInfo | undefined>;
  /** True when there was one. */
  delete(bucket: Bucket, key: string): Promise<boolean>;
  /** Errors: BlobNotFound. */
  copy(from: { bucket: Bucket; key: string }, to: { bucket: Bucket; key: string }): Promise<void>;
  /** All of a bucket, in no order; for collecting what nothing refers to any more. */
  list(bucket: Bucket): AsyncIterable<BlobInfo>;
}

/** Errors: BlobNameInvalid. Keys are one path segment, at least four characters, so that they can be sharded. */
export function checkBlobName(bucket: string, key: string): void {
  if (!isBucket(bucket)) throw new BlobNameInvalid(bucket);
  if (!/^[a-z0-9]{4}[A-Za-z0-9_.-]{0,196}$/.test(key) || key.includes('..')) throw new BlobNameInvalid(key);
}

export function isBucket(name: string): name is Bucket {
  return (BUCKETS as readonly string[]).includes(name);
}
