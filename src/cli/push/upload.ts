import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer } from '../client.ts';
import type { Cf } from '../context.ts';
import { CommandError } from '../errors.ts';
import type { App, Package } from '../resources.ts';
import { byteSize } from '../terminal.ts';
import { hashFiles, isZip, listFiles, unpackPushedZip, zipFiles, type PushFile, type Resource } from './files.ts';

/** Resources asked about at a time. Source: cloudfoundry/cli. */
const MATCH_CHUNK = 5000;

/** Uploads a folder or a zip as a new package of the app and waits until it is ready. Returns its guid. Errors: CommandError. */
export async function uploadPackage(cf: Cf, app: App, path: string): Promise<string> {
  const { terminal, client } = cf;
  terminal.say('Packaging files to upload...');
  const temporary = await mkdtemp(join(tmpdir(), 'cf-push-'));
  try {
    const files = await filesOf(path, join(temporary, 'unpacked'));
    const known = await matchResources(cf, await hashFiles(files));
    const zip = join(temporary, 'package.zip');
    const knownPaths = new Set(known.map((resource) => resource.path));
    const isAllKnown = files.every((file) => file.kind === 'folder' || knownPaths.has(file.path));
    if (!isAllKnown) await zipFiles(files, knownPaths, zip);
    const relationships = { app: { data: { guid: app.guid } } };
    const { body: created } = await client.call<Package>('/v3/packages', {
      method: 'POST',
      json: { type: 'bits', relationships },
    });
    if (isAllKnown) terminal.say('All files found in remote cache; nothing to upload.');
    else terminal.say('Uploading files...');
    await sendBits(cf, created.guid, { known, zip: isAllKnown ? undefined : zip });
    terminal.say('\nWaiting for API to complete processing files...');
    await untilReady(cf, created.guid);
    return created.guid;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Errors: CommandError when there is nothing at `path` to push, or more than the platform takes. */
export async function checkSource({ client }: Cf, path: string): Promise<void> {
  const { size, files } = await measure(path);
  const { body } = await client.call<{ custom?: { upload_max_bytes?: number } }>('/v3/info');
  // Other platforms do not say what they take; theirs is to refuse it.
  const most = body.custom?.upload_max_bytes ?? Infinity;
  if (size <= most) return;
  const largest = files.toSorted((one, other) => other.size - one.size)[0];
  throw new CommandError(
    `The app in '${resolve(path)}' has ${byteSize(size)} of files, and this platform takes ${byteSize(most)}.` +
      (largest
        ? `\nTIP: the largest is ${largest.path} (${byteSize(largest.size)}); '.cfignore' names what is not to be uploaded.`
        : ''),
  );
}

async function measure(path: string): Promise<{ size: number; files: { path: string; size: number }[] }> {
  if (await isZip(path)) return { size: (await stat(path)).size, files: [] };
  const files = (await listFiles(path)).filter((file) => file.kind === 'file');
  return { size: files.reduce((sum, file) => sum + file.size, 0), files };
}

async function filesOf(path: string, unpacked: string): Promise<PushFile[]> {
  if (!(await isZip(path))) return await listFiles(path);
  if (!['.zip', '.jar', '.war', '.ear', ''].includes(extname(path).toLowerCase()))
    throw new CommandError(`The path '${path}' is neither a folder nor a zip file.`);
  await unpackPushedZip(path, unpacked);
  return await listFiles(unpacked);
}

/** Which of the files the platform has already. */
async function matchResources({ client }: Cf, resources: readonly Resource[]): Promise<Resource[]> {
  const known: Resource[] = [];
  for (let at = 0; at < resources.length; at += MATCH_CHUNK) {
    const chunk = resources.slice(at, at + MATCH_CHUNK);
    const { body } = await client.call<{ resources: Resource[] }>('/v3/resource_matches', {
      method: 'POST',
      json: { resources: chunk },
    });
    known.push(...body.resources);
  }
  return known;
}

async function sendBits(
  cf: Cf,
  package_guid: string,
  bits: { known: readonly Resource[]; zip: string | undefined },
): Promise<void> {
  const file = bits.zip === undefined ? undefined : { path: bits.zip, name: 'package.zip' };
  await sendFile(cf, `/v3/packages/${package_guid}/upload`, file, { resources: JSON.stringify(bits.known) });
}

/** A multipart form with its exact length told, as the API wants it: the fields, and the file as `bits`. */
export async function sendFile(
  { client, terminal }: Cf,
  path: string,
  file: { path: string; name: string } | undefined,
  fields: Record<string, string> = {},
): Promise<Answer> {
  const boundary = `ingot-${randomUUID()}`;
  const part = (disposition: string, type = ''): string =>
    `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n${type}\r\n`;
  const head = Object.entries(fields)
    .map(([name, value]) => `${part(`name="${name}"`)}${value}\r\n`)
    .join('');
  const fileHead = part(`name="bits"; filename="${file?.name ?? ''}"`, 'Content-Type: application/zip\r\n');
  const tail = `--${boundary}--\r\n`;
  const size = file === undefined ? 0 : (await stat(file.path)).size;
  const length =
    Buffer.byteLength(head) +
    Buffer.byteLength(tail) +
    (file === undefined ? 0 : Buffer.byteLength(fileHead) + size + 2);
  const showProgress = progressBar(terminal, size);
  async function* body(): AsyncGenerator<Buffer> {
    yield Buffer.from(head);
    if (file !== undefined) {
      yield Buffer.from(fileHead);
      for await (const chunk of createReadStream(file.path) as AsyncIterable<Buffer>) {
        yield chunk;
        showProgress(chunk.length);
      }
      yield Buffer.from('\r\n');
    }
    yield Buffer.from(tail);
  }
  return await client.call(path, {
    method: 'POST',
    body: Readable.from(body()),
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}`, 'content-length': String(length) },
  });
}

/** ` 1.2M / 3.4M [=====>    ] 35%`, drawn over itself; one line at the end where nobody looks. */
function progressBar(terminal: Cf['terminal'], total: number): (bytes: number) => void {
  const WIDTH = 40;
  let sent = 0;
  let drawn = -1;
  return (bytes) => {
    sent += bytes;
    const percent = total === 0 ? 100 : Math.floor((sent / total) * 100);
    if (percent === drawn || (!terminal.isInteractive && percent < 100)) return;
    drawn = percent;
    const full = Math.round((percent / 100) * WIDTH);
    const bar = `${'='.repeat(full)}${full < WIDTH ? '>' : ''}`.padEnd(WIDTH).slice(0, WIDTH);
    terminal.write(
      `${terminal.isInteractive ? '\r' : ''} ${byteSize(sent)} / ${byteSize(total)} [${bar}] ${percent}%${percent === 100 ? '\n' : ''}`,
    );
  };
}

async function untilReady({ client }: Cf, package_guid: string): Promise<void> {
  for (let delay = 50; ; delay = Math.min(delay * 1.5, 1000)) {
    const now = await client.get<Package>(`/v3/packages/${package_guid}`);
    if (now.state === 'READY') return;
    if (now.state === 'FAILED' || now.state === 'EXPIRED') {
      throw new CommandError(
        `Package failed to process correctly after upload${now.data.error ? `: ${now.data.error}` : ''}`,
      );
    }
    await sleep(delay);
  }
}
