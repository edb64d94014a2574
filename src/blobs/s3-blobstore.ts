import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type * as S3 from '@aws-sdk/client-s3';
import { AppError } from '#kernel/errors.ts';
import {
  BlobNotFound,
  BlobstoreUnavailable,
  type BlobInfo,
  type BlobReading,
  type Blobstore,
  type Bucket,
  type ByteRange,
  checkBlobName,
  type StoredBlob,
} from './blobstore.ts';
import { Measure } from './measure.ts';

export interface S3BlobstoreOptions {
  /** Of a server that is not Amazon's. */
  endpoint?: string;
  region: string;
  access_key_id: string;
  secret_access_key: string;
  /** The one bucket that holds ours as folders. */
  bucket: string;
  force_path_style: boolean;
  /** Where uploads wait: S3 wants to know an object's length before its first byte. */
  spool_folder: string;
}

type Sdk = typeof S3;

/** Blobs as objects `<bucket>/ab/cd/<key>` in one S3 bucket. */
export class S3Blobstore implements Blobstore {
  readonly #sdk: Sdk;
  readonly #client: S3.S3Client;
  readonly #options: S3BlobstoreOptions;

  private constructor(sdk: Sdk, options: S3BlobstoreOptions) {
    this.#sdk = sdk;
    this.#options = options;
    this.#client = new sdk.S3Client({
      region: options.region,
      credentials: { accessKeyId: options.access_key_id, secretAccessKey: options.secret_access_key },
      forcePathStyle: options.force_path_style,
      ...(options.endpoint !== undefined && { endpoint: options.endpoint }),
      // Other servers than Amazon's do not know the newer trailing checksums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      maxAttempts: 4,
    });
  }

  static async open(options: S3BlobstoreOptions): Promise<S3Blobstore> {
    await mkdir(options.spool_folder, { recursive: true });
    // The library takes some 20 MB; whoever keeps blobs in a folder never loads it.
    return new S3Blobstore(await import('@aws-sdk/client-s3'), options);
  }

  async put(bucket: Bucket, key: string, source: Readable, limits: { max_bytes: number }): Promise<StoredBlob> {
    const spool = join(this.#options.spool_folder, randomUUID());
    try {
      const target = this.#at(bucket, key);
      const measure = new Measure(limits.max_bytes);
      await pipeline(source, measure, createWriteStream(spool, { flags: 'wx' }));
      const stored = measure.result();
      const body = createReadStream(spool);
      try {
        await this.#client.send(new this.#sdk.PutObjectCommand({ ...target, Body: body, ContentLength: stored.size }));
      } catch (error) {
        throw this.#away(error);
      } finally {
        body.destroy();
      }
      return stored;
    } finally {
      source.destroy();
      await rm(spool, { force: true });
    }
  }

  async get(bucket: Bucket, key: string, range?: ByteRange): Promise<BlobReading> {
    try {
      const Range = range && `bytes=${range.start}-${range.end}`;
      const got = await this.#client.send(
        new this.#sdk.GetObjectCommand({ ...this.#at(bucket, key), ...(Range !== undefined && { Range }) }),
      );
      if (!(got.Body instanceof Readable)) throw new BlobstoreUnavailable('S3 answered without a body');
      const size = got.ContentLength ?? 0;
      const total = /\/(\d+)$/.exec(got.ContentRange ?? '')?.[1];
      return { stream: got.Body, size, total_size: total === undefined ? size : Number(total) };
    } catch (error) {
      if (this.#isAbsent(error)) throw new BlobNotFound(bucket, key, { cause: error });
      throw this.#away(error);
    }
  }

  async read(bucket: Bucket, key: string): Promise<Buffer> {
    return await buffer((await this.get(bucket, key)).stream);
  }

  async keep(bucket: Bucket, key: string, bytes: Buffer): Promise<void> {
    try {
      await this.#client.send(new this.#sdk.PutObjectCommand({ ...this.#at(bucket, key), Body: bytes }));
    } catch (error) {
      throw this.#away(error);
    }
  }

  async head(bucket: Bucket, key: string): Promise<BlobInfo | undefined> {
    try {
      const found = await this.#client.send(new this.#sdk.HeadObjectCommand(this.#at(bucket, key)));
      return { key, size: found.ContentLength ?? 0, modified_at: found.LastModified ?? new Date(0) };
    } catch (error) {
      if (this.#isAbsent(error)) return undefined;
      throw this.#away(error);
    }
  }

  async delete(bucket: Bucket, key: string): Promise<boolean> {
    if ((await this.head(bucket, key)) === undefined) return false;
    try {
      await this.#client.send(new this.#sdk.DeleteObjectCommand(this.#at(bucket, key)));
      return true;
    } catch (error) {
      throw this.#away(error);
    }
  }

  async copy(from: { bucket: Bucket; key: string }, to: { bucket: Bucket; key: string }): Promise<void> {
    const source = this.#at(from.bucket, from.key);
    try {
      await this.#client.send(
        new this.#sdk.CopyObjectCommand({
          ...this.#at(to.bucket, to.key),
          CopySource: `${source.Bucket}/${source.Key}`,
        }),
      );
    } catch (error) {
      if (this.#isAbsent(error)) throw new BlobNotFound(from.bucket, from.key, { cause: error });
      throw this.#away(error);
    }
  }

  async *list(bucket: Bucket): AsyncGenerator<BlobInfo> {
    let token: string | undefined;
    do {
      const page = await this.#client
        .send(
          new this.#sdk.ListObjectsV2Command({
            Bucket: this.#options.bucket,
            Prefix: `${bucket}/`,
            ...(token !== undefined && { ContinuationToken: token }),
          }),
        )
        .catch((error: unknown) => {
          throw this.#away(error);
        });
      for (const found of page.Contents ?? []) {
        const key = found.Key?.split('/').at(-1);
        if (key !== undefined && key !== '') {
          yield { key, size: found.Size ?? 0, modified_at: found.LastModified ?? new Date(0) };
        }
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy();
  }

  #at(bucket: Bucket, key: string): { Bucket: string; Key: string } {
    checkBlobName(bucket, key);
    return { Bucket: this.#options.bucket, Key: `${bucket}/${key.slice(0, 2)}/${key.slice(2, 4)}/${key}` };
  }

  #isAbsent(error: unknown): boolean {
    return (
      error instanceof this.#sdk.S3ServiceException &&
      (error.name === 'NoSuchKey' || error.name === 'NotFound' || error.$metadata.httpStatusCode === 404)
    );
  }

  #away(error: unknown): Error {
    if (error instanceof AppError) return error;
    return new BlobstoreUnavailable('the S3 blobstore does not serve', { cause: error });
  }
}
