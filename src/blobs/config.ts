import { z } from 'zod';
import type { Blobstore } from './blobstore.ts';
import { FolderBlobstore } from './folder-blobstore.ts';
import { S3Blobstore } from './s3-blobstore.ts';

/** The part of a component's configuration that says where its blobs are. */
export const BlobstoreConfig = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('folder'),
    folder: z.string(),
    min_free_mb: z
      .number()
      .int()
      .min(0)
      .default(1024)
      .describe('uploads are refused when less would be left on the disk'),
  }),
  z.strictObject({
    kind: z.literal('s3'),
    endpoint: z.url().optional().describe("of a server that is not Amazon's"),
    region: z.string().default('us-east-1'),
    bucket: z.string(),
    access_key_id: z.string(),
    secret_access_key: z.string(),
    force_path_style: z.boolean().default(false),
    spool_folder: z.string().describe('where uploads wait until their length is known'),
  }),
]);
export type BlobstoreConfig = z.infer<typeof BlobstoreConfig>;

/** `blocking` is for threads that do nothing else. Errors: BlobstoreUnavailable. */
export async function openBlobstore(config: BlobstoreConfig, options: { blocking?: boolean } = {}): Promise<Blobstore> {
  switch (config.kind) {
    case 'folder': {
      const { folder, min_free_mb } = config;
      return await FolderBlobstore.open({ folder, min_free_bytes: min_free_mb * 1024 * 1024, ...options });
    }
    case 's3': {
      const { kind: _kind, endpoint, ...options } = config;
      return await S3Blobstore.open({ ...options, ...(endpoint !== undefined && { endpoint }) });
    }
    default:
      return config satisfies never;
  }
}
