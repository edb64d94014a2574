import { request } from 'node:http';
import { connect } from 'node:net';
import type { HealthCheck } from '#contracts/dea.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';

/** Source: Diego's and the DEA's defaults. */
export const HEALTH_CHECK_DEFAULTS = { invocation_timeout_s: 1, interval_s: 30, start_interval_ms: 100, timeout_s: 60 };

export interface Endpoint {
  host: string;
  port: number;
}

export type ProbeResult = { ok: true } | { ok: false; why: string };

/** One probe. A process check, or a check of an app without ports, always succeeds: that the process lives is watched elsewhere. */
export async function probe(check: HealthCheck, endpoint: Endpoint | undefined): Promise<ProbeResult> {
  if (check.type === 'process' || endpoint === undefined) return { ok: true };
  const timeout_ms = (check.invocation_timeout_s ?? HEALTH_CHECK_DEFAULTS.invocation_timeout_s) * 1000;
  const where = `${endpoint.host}:${endpoint.port}`;
  if (check.type === 'port') {
    const error = await tryConnect(endpoint, timeout_ms);
    return error === undefined
      ? { ok: true }
      : { ok: false, why: `Failed to make TCP connection to ${where}: ${error}` };
  }
  const path = check.endpoint ?? '/';
  const answer = await tryGet(endpoint, path, timeout_ms);
  if (answer === 200) return { ok: true };
  if (typeof answer === 'number') {
    return {
      ok: false,
      why: `Failed to make HTTP request to '${path}' on port ${endpoint.port}: received status code ${answer}`,
    };
  }
  return { ok: false, why: `Failed to make HTTP request to '${path}' on port ${endpoint.port}: ${answer}` };
}

/**
 * Probes until the first success, at most `timeout_s`. The pause grows from 20 ms to half a second, so that an app that is up
 * at once is seen at once and a slow one is not hammered.
 * Rejects with the signal's reason when it is aborted.
 */
export async function untilHealthy(
  check: HealthCheck,
  endpoint: Endpoint | undefined,
  options: { clock: Clock; timeout_s: number; signal: AbortSignal },
): Promise<ProbeResult> {
  const { clock, signal } = options;
  const end = clock.monotonic() + options.timeout_s * 1000;
  let pause_ms = 20;
  for (;;) {
    const result = await probe(check, endpoint);
    signal.throwIfAborted();
    if (result.ok || clock.monotonic() + pause_ms >= end) return result;
    await clock.sleep(pause_ms, signal);
    pause_ms = Math.min(500, pause_ms * 1.3);
  }
}

async function tryConnect(endpoint: Endpoint, timeout_ms: number): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const socket = connect({ host: endpoint.host, port: endpoint.port, timeout: timeout_ms });
    const end = (why: string | undefined): void => {
      socket.destroy();
      resolve(why);
    };
    socket.once('connect', () => end(undefined));
    socket.once('timeout', () => end('i/o timeout'));
    socket.once('error', (error) => end(describeError(error)));
  });
}

async function tryGet(endpoint: Endpoint, path: string, timeout_ms: number): Promise<number | string> {
  return await new Promise((resolve) => {
    const headers = { 'User-Agent': 'diego-healthcheck', Host: `${endpoint.host}:${endpoint.port}` };
    const outgoing = request({ ...endpoint, path, headers, agent: false, signal: AbortSignal.timeout(timeout_ms) });
    outgoing.once('response', (response) => {
      // The head is the answer; how long a body takes is not asked.
      response.destroy();
      resolve(response.statusCode ?? 0);
    });
    outgoing.once('error', (error) => resolve(error.name === 'AbortError' ? 'timed out' : describeError(error)));
    outgoing.end();
  });
}
