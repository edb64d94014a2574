import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { AppError } from '#kernel/errors.ts';
import type { PlatformPlan } from './plan.ts';

const JOB_LIMIT_MS = 60_000;

/** The platform's own calls of its API, as admin, past the router: for status and for settings of the first start. */
export class AdminApi {
  readonly #base: string;
  readonly #authorization: string;

  private constructor(base: string, authorization: string) {
    this.#base = base;
    this.#authorization = authorization;
  }

  static async logIn({ ports, secrets }: PlatformPlan): Promise<AdminApi> {
    const form = new URLSearchParams({ grant_type: 'password', username: 'admin', password: secrets.admin_password });
    const body = await call(`http://127.0.0.1:${ports.uaa}/oauth/token`, {
      method: 'POST',
      body: form.toString(),
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        authorization: basicAuthHeader({ user: 'cf', password: '' }),
      },
    });
    const { access_token } = body as { access_token: string };
    return new AdminApi(`http://127.0.0.1:${ports.cloud_controller}`, `bearer ${access_token}`);
  }

  async list<T>(path: string): Promise<T[]> {
    const body = await call(this.#base + path, { method: 'GET', headers: { authorization: this.#authorization } });
    return (body as { resources: T[] }).resources;
  }

  async post(path: string, body: object): Promise<void> {
    await this.#change('POST', path, body);
  }

  async delete(path: string): Promise<void> {
    await this.#change('DELETE', path);
  }

  async patch(path: string, change: object): Promise<void> {
    await this.#change('PATCH', path, change);
  }

  /** Waits for the end of the job, where the answer names one. */
  async #change(method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<void> {
    const headers = { authorization: this.#authorization, 'content-type': 'application/json' };
    const { location } = await ask(this.#base + path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    if (location === undefined || !location.includes('/v3/jobs/')) return;
    const job = this.#base + new URL(location).pathname;
    for (let waited = 0; ; waited += 50) {
      const { state, errors } = (await call(job, { headers })) as { state: string; errors: { detail: string }[] };
      if (state === 'COMPLETE') return;
      if (state === 'FAILED' || waited > JOB_LIMIT_MS)
        throw new AppError('api_refused', `${method} ${path} failed: ${errors[0]?.detail ?? state}`);
      await sleep(50);
    }
  }
}

type CallOptions = NonNullable<Parameters<typeof request>[1]>;

async function call(url: string, options: CallOptions): Promise<unknown> {
  const { text } = await ask(url, options);
  return JSON.parse(text);
}

async function ask(url: string, options: CallOptions): Promise<{ text: string; location: string | undefined }> {
  const response = await request(url, { headersTimeout: 10_000, ...options });
  const text = await response.body.text();
  const location = response.headers['location'];
  if (response.statusCode >= 400)
    throw new AppError(
      'api_refused',
      `${new URL(url).pathname} answered ${response.statusCode}: ${text.slice(0, 300)}`,
    );
  return { text, location: typeof location === 'string' ? location : undefined };
}
