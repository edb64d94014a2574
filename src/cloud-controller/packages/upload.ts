import { createReadStream } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { BlobstoreFull, BlobstoreUnavailable, BlobTooLarge, type StoredBlob } from '#blobs/blobstore.ts';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import { recordAppEvent } from '../apps/lifecycle.ts';
import { findApp } from '../apps/store.ts';
import { spoolUpload, type Upload, withMultipart } from '../api/multipart.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { requireFeature } from '../feature-flags/store.ts';
import type { Resource } from '../resource-matches/cache.ts';
import type { PackageRow } from '../tables-apps.ts';
import { seePackage } from './policy.ts';
import { presentPackage } from './presenter.ts';
import { expirePackages, movePackage, updatePackage } from './store.ts';

const DEFAULT_MODE = 0o644;

// As the v3 documentation has it, and as older clients send it.
const Resources = z.array(
  z.union([
    z.looseObject({
      path: z.string(),
      checksum: z.looseObject({ value: z.string() }),
      size_in_bytes: z.number(),
      mode: z.string().optional(),
    }),
    z.looseObject({ fn: z.string(), sha1: z.string(), size: z.number(), mode: z.string().optional() }),
  ]),
);

export function registerPackageUpload(server: FastifyInstance, deps: Deps): void {
  const { db, links, config, apps } = deps;
  withMultipart(server, (scope) => {
    scope.post<{ Params: { guid: string } }>('/v3/packages/:guid/upload', async (request) => {
      const { caller } = request;
      const found = await seePackage(deps, caller, request.params.guid);
      caller.require('app.update', found);
      await requireFeature(db, 'app_bits_upload', caller);
      if (found.type !== 'bits') throw unprocessable('Package type must be bits.');
      if (!(await movePackage(db, found.guid, { from: 'AWAITING_UPLOAD', to: 'PROCESSING_UPLOAD' }))) {
        const detail = 'Bits may be uploaded only once. Create a new package to upload different bits.';
        throw new CfError('PackageBitsAlreadyUploaded', detail);
      }
      apps.say(found.app_guid, `Uploading bits for app with guid ${found.app_guid}`);
      try {
        const stored = await spoolUpload(request, { max_bytes: config.limits.upload_max_bytes }, async (upload) =>
          storePackage(deps, found.guid, upload),
        );
        const app = await findApp(db, found.app_guid);
        const ready = await inTransaction(db, async (trx) => {
          if (app)
            await recordAppEvent(trx, app, caller.actor, {
              what: 'package.upload',
              data: { package_guid: found.guid },
            });
          const { sha256, size: size_in_bytes } = stored;
          return await updatePackage(trx, found.guid, { state: 'READY', sha256, size_in_bytes });
        });
        apps.dispatcher.background('expiry of packages', async () => await expire(deps, found.app_guid));
        return presentPackage(ready, links);
      } catch (error) {
        await giveUp(deps, found.guid, error);
        throw asCfError(error);
      }
    });
  });
}

async function storePackage(deps: Deps, guid: string, upload: Upload): Promise<StoredBlob> {
  const { apps, config } = deps;
  const bits = upload.files.get('bits')?.path ?? upload.files.get('application')?.path;
  const resources = parseResources(upload.fields.get('resources'));
  if (bits === undefined && resources.length === 0) {
    throw unprocessable('Upload must include either resources or bits');
  }
  const { package_max_bytes: max_bytes, upload_max_bytes } = config.limits;
  const zip = await apps.assembler.assemble(
    { bits, resources, folder: upload.folder },
    { ...config.limits, max_bytes: upload_max_bytes },
  );
  return await apps.blobs.put('cc-packages', guid, createReadStream(zip), { max_bytes });
}

function parseResources(text: string | undefined): Resource[] {
  if (text === undefined || text.trim() === '') return [];
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new CfError('MessageParseError', 'Request invalid due to parse error: resources is not valid JSON', {
      cause: error,
    });
  }
  const parsed = Resources.safeParse(given);
  if (!parsed.success) throw unprocessable('Resources must be an array of resources');
  return parsed.data.map((resource): Resource => {
    const isOld = 'fn' in resource;
    const path = String(isOld ? resource.fn : resource.path);
    const sha1 = (isOld ? String(resource.sha1) : (resource.checksum as { value: string }).value).toLowerCase();
    if (!/^[0-9a-f]{40}$/.test(sha1)) throw unprocessable(`Resource '${path}' has no SHA-1 checksum`);
    const size = Number(isOld ? resource.size : resource.size_in_bytes);
    return { path, sha1, size, mode: parseMode(resource.mode, path) };
  });
}

function parseMode(text: string | undefined, path: string): number {
  if (text === undefined || text === '') return DEFAULT_MODE;
  const mode = /^[0-7]{3,6}$/.test(text) ? Number.parseInt(text, 8) & 0o777 : Number.NaN;
  // Its owner must be able to read it, or nobody could pack it.
  if ((mode & 0o600) === 0o600) return mode;
  throw new CfError(
    'AppResourcesFileModeInvalid',
    `The resource file mode is invalid: File mode '${text}' with path '${path}' is invalid. Minimum file mode is '0600'`,
  );
}

/** Bits that cannot become a package end it; a fault on the way leaves it to be tried again. */
async function giveUp({ db }: Deps, guid: string, error: unknown): Promise<void> {
  const isUsers = error instanceof CfError && error.title !== 'MessageParseError';
  const change: { state: PackageRow['state']; error: string | null } = isUsers
    ? { state: 'FAILED', error: error.message }
    : { state: 'AWAITING_UPLOAD', error: null };
  await updatePackage(db, guid, change).catch(() => {
    // The database is away or the package is gone; what it says is swept later.
  });
}

/** The blobstore's errors as the API names them. */
export function asCfError(error: unknown): unknown {
  if (error instanceof BlobTooLarge) {
    const max_mb = Math.floor(error.max_bytes / (1024 * 1024));
    return new CfError('PayloadTooLarge', `The app package is larger than the ${max_mb} MB that are allowed`, {
      cause: error,
    });
  }
  if (error instanceof BlobstoreFull) {
    return new CfError('BlobstoreUnavailable', 'The blobstore is nearly full. Please try again later.', {
      cause: error,
    });
  }
  if (error instanceof BlobstoreUnavailable) {
    return new CfError('BlobstoreUnavailable', 'Failed to perform blobstore operation after three retries.', {
      cause: error,
    });
  }
  return error;
}

async function expire({ db, apps, config }: Deps, app_guid: string): Promise<void> {
  for (const guid of await expirePackages(db, app_guid, config.limits.packages_kept)) {
    await apps.blobs.delete('cc-packages', guid);
  }
}
