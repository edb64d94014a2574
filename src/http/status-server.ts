import { createServer, type Server } from 'node:http';
import { Registry, collectDefaultMetrics } from 'prom-client';
import { AppError } from '#kernel/errors.ts';
import { isAuthorized, type Credentials } from './basic-auth.ts';

export interface StatusServerOptions {
  host: string;
  port: number;
  credentials: Credentials;
  /** Facts for `/varz` beside those that every component has. */
  varz?: () => Record<string, unknown>;
  /** Further pages of JSON by their path, behind the same credentials. */
  pages?: Readonly<Record<string, () => unknown>>;
  /** Prometheus text shown behind that of `registry`: figures that are kept elsewhere, of other names. */
  furtherMetrics?: () => string;
  /** Whether to answer `/healthz` with 200 `ok`; by default always. */
  isHealthy?: () => boolean;
}

/**
 * What the collector reads of a component: `/healthz` (open), `/varz` and `/metrics` (basic auth). A component adds its own
 * figures to `registry`.
 */
export class StatusServer implements AsyncDisposable {
  readonly registry = new Registry();
  readonly #options: StatusServerOptions;
  readonly #server: Server;
  readonly #startedAt = new Date();

  private constructor(options: StatusServerOptions) {
    this.#options = options;
    // In one process several components may stand; each counts the process's figures in a registry of its own.
    collectDefaultMetrics({ register: this.registry });
    this.#server = createServer((request, response) => {
      void (async () => {
        const answer = await this.#answer(request.url ?? '/', request.headers.authorization);
        response.writeHead(answer.status, { 'Content-Type': answer.type, ...answer.headers });
        response.end(answer.body);
      })();
    });
  }

  static async start(options: StatusServerOptions): Promise<StatusServer> {
    const status = new StatusServer(options);
    await new Promise<void>((resolve, reject) => {
      status.#server.once('error', reject);
      status.#server.listen(options.port, options.host, resolve);
    });
    return status;
  }

  /** `ip:port`. */
  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new AppError('not_listening', 'no TCP address');
    return `${address.address}:${address.port}`;
  }

  get credentials(): Credentials {
    return this.#options.credentials;
  }

  get startedAt(): Date {
    return this.#startedAt;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.registry.clear();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(
    url: string,
    authorization: string | undefined,
  ): Promise<{ status: number; type: string; body: string; headers?: Record<string, string> }> {
    const text = 'text/plain; charset=utf-8';
    if (url === '/healthz' || url === '/health') {
      const isHealthy = this.#options.isHealthy?.() ?? true;
      return { status: isHealthy ? 200 : 503, type: text, body: isHealthy ? 'ok' : 'not healthy' };
    }
    const page = this.#options.pages?.[url];
    if (url !== '/varz' && url !== '/metrics' && page === undefined)
      return { status: 404, type: text, body: 'not found\n' };
    if (!isAuthorized(authorization, this.#options.credentials)) {
      return {
        status: 401,
        type: text,
        body: 'unauthorized\n',
        headers: { 'WWW-Authenticate': 'Basic realm="status"' },
      };
    }
    if (url === '/metrics') {
      const further = this.#options.furtherMetrics?.() ?? '';
      return { status: 200, type: this.registry.contentType, body: `${await this.registry.metrics()}${further}` };
    }
    if (page !== undefined) return { status: 200, type: 'application/json', body: JSON.stringify(page()) };
    const varz = {
      start: this.#startedAt.toISOString(),
      uptime_s: Math.round(process.uptime()),
      mem_bytes: process.memoryUsage.rss(),
      cpu_s: process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
      pid: process.pid,
      ...this.#options.varz?.(),
    };
    return { status: 200, type: 'application/json', body: JSON.stringify(varz) };
  }
}
