import { StatusServer } from '#http/status-server.ts';
import type { Core } from './core.ts';
import { registerMetrics } from './metrics.ts';
import { routesPage } from './routes-page.ts';
import { Varz } from './varz.ts';

/** `/health` and `/healthz` (open), `/routes`, `/varz`, `/metrics`. */
export async function startStatus(core: Core): Promise<StatusServer> {
  const { status } = core.config;
  const varz = new Varz(core);
  const server = await StatusServer.start({
    host: status.host,
    port: status.port,
    credentials: status,
    isHealthy: () => core.isHealthy,
    varz: () => varz.read(),
    pages: { '/routes': () => routesPage(core.table) },
  });
  registerMetrics(core, server.registry);
  return server;
}
