import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { CfError } from '#contracts/cf-errors.ts';

/** A multipart body's parts: text fields by name, and files by name, spooled in `folder`. */
export interface Upload {
  folder: string;
  fields: ReadonlyMap<string, string>;
  files: ReadonlyMap<string, { path: string; filename: string }>;
}

const MAX_FIELD_BYTES = 64 * 1024 * 1024;

/** Endpoints that take multipart bodies are made within `register`, so that the parser is theirs alone. */
export function withMultipart(server: FastifyInstance, register: (scope: FastifyInstance) => void): void {
  void server.register(async (scope) => {
    await scope.register(multipart);
    register(scope);
  });
}

/**
 * Spools an upload and hands it to `work`; nothing of it is left afterwards. A body without parts gives an empty upload.
 * Errors: 413 CF-PayloadTooLarge beyond `max_bytes`; 400 CF-MessageParseError for a body cut short or malformed.
 */
export async function spoolUpload<Result>(
  request: FastifyRequest,
  limits: { max_bytes: number },
  work: (upload: Upload) => Promise<Result>,
): Promise<Result> {
  const length = Number(request.headers['content-length'] ?? 0);
  if (length > limits.max_bytes + MAX_FIELD_BYTES) throw tooLarge(limits.max_bytes);
  const folder = await mkdtemp(join(tmpdir(), 'ingot-upload-'));
  try {
    return await work(await receive(request, folder, limits.max_bytes));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function receive(request: FastifyRequest, folder: string, max_bytes: number): Promise<Upload> {
  const fields = new Map<string, string>();
  const files = new Map<string, { path: string; filename: string }>();
  if (!request.isMultipart()) return { folder, fields, files };
  try {
    for await (const part of request.parts({
      limits: { fileSize: max_bytes, fieldSize: MAX_FIELD_BYTES, files: 4, fields: 16 },
    })) {
      if (part.type === 'field') {
        fields.set(part.fieldname, String(part.value));
        continue;
      }
      const path = join(folder, `part-${files.size}`);
      await pipeline(part.file, createWriteStream(path, { flags: 'wx' }));
      if (part.file.truncated) throw tooLarge(max_bytes);
      files.set(part.fieldname, { path, filename: part.filename });
    }
  } catch (error) {
    if (error instanceof CfError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') {
      throw new CfError('BlobstoreUnavailable', 'There is no room left for uploads. Please try again later.', {
        cause: error,
      });
    }
    throw new CfError(
      'MessageParseError',
      'Request invalid due to parse error: the upload is incomplete or malformed',
      {
        cause: error,
      },
    );
  }
  return { folder, fields, files };
}

function tooLarge(max_bytes: number): CfError {
  const max_mb = Math.floor(max_bytes / (1024 * 1024));
  return new CfError('PayloadTooLarge', `The upload is larger than the ${max_mb} MB that are allowed`);
}
