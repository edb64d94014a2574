import { z } from 'zod';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { parseExposition } from '#http/exposition.ts';
import type { Component } from './registry.ts';

export interface PollOptions {
  log: Log;
  timeout_ms: number;
}

const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_SAMPLES = 50_000;
const Varz = z.record(z.string(), z.unknown());

/** Asks a component for its health: healthy is who answers 200 `ok`. */
export async function pollHealth(component: Component, { log, timeout_ms }: PollOptions): Promise<void> {
  const { type, index, host } = component.announcement;
  let isHealthy = false;
  let why: string | undefined;
  try {
    const { status, text } = await get(component, '/healthz', timeout_ms);
    isHealthy = status === 200 && text.trim() === 'ok';
    if (!isHealthy) why = `it answered ${status} ${text.slice(0, 100)}`;
  } catch (error) {
    why = describeError(error);
  }
  if (component.isHealthy !== isHealthy) {
    if (isHealthy) log.info({ type, index, host }, 'component healthy');
    else log.warn({ type, index, host, why }, 'component not healthy');
  }
  component.isHealthy = isHealthy;
}

/** Reads a component's `/varz` and `/metrics`. What cannot be read is no longer shown. */
export async function pollFigures(component: Component, { log, timeout_ms }: PollOptions): Promise<void> {
  const { type, index, host } = component.announcement;
  const read = async (path: string): Promise<string | undefined> => {
    try {
      const { status, text } = await get(component, path, timeout_ms);
      if (status === 200) return text;
      log.debug({ type, index, host, path, status }, 'figures not readable');
    } catch (error) {
      log.debug({ type, index, host, path, error: describeError(error) }, 'figures not readable');
    }
    return undefined;
  };
  const [varz, metrics] = await Promise.all([read('/varz'), read('/metrics')]);
  const parsed = varz === undefined ? undefined : Varz.safeParse(jsonOf(varz)).data;
  if (parsed) component.varz = parsed;
  else delete component.varz;
  if (metrics === undefined) delete component.exposition;
  else component.exposition = parseExposition(metrics, MAX_SAMPLES);
}

async function get(
  { announcement }: Component,
  path: string,
  timeout_ms: number,
): Promise<{ status: number; text: string }> {
  const [user, password] = announcement.credentials;
  const response = await fetch(`http://${announcement.host}${path}`, {
    headers: { authorization: basicAuthHeader({ user, password }) },
    redirect: 'manual',
    signal: AbortSignal.timeout(timeout_ms),
  });
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += (chunk as Uint8Array).length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`${path} is larger than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk as Uint8Array);
  }
  return { status: response.status, text: Buffer.concat(chunks).toString() };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
