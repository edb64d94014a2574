import { request } from 'undici';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { AppError } from '#kernel/errors.ts';
import type { PlatformPlan } from './plan.ts';

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

  async patch(path: string, change: object): Promise<void> {
    const headers = { authorization: this.#authorization, 'content-type': 'application/json' };
    await call(this.#base + path, { method: 'PATCH', body: JSON.stringify(change), headers });
  }
}

async function call(url: string, options: NonNullable<Parameters<typeof request>[1]>): Promise<unknown> {
  const response = await request(url, { headersTimeout: 10_000, ...options });
  const text = await response.body.text();
  if (response.statusCode >= 400)
    throw new AppError(
      'api_refused',
      `${new URL(url).pathname} answered ${response.statusCode}: ${text.slice(0, 300)}`,
    );
  return JSON.parse(text);
}
