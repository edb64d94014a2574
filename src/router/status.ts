import { StatusServer } from '#http/status-server.ts';
import type { Core } from './core.ts';
import { varzOf } from './varz.ts';

/** `/health`, `/healthz`, `/varz`, `/metrics`. */
export async function startStatus(core: Core): Promise<StatusServer> {
  const { status } = core.config;
  return await StatusServer.start({
    host: status.host,
    port: status.port,
    credentials: status,
    isHealthy: () => core.isHealthy,
    varz: () => varzOf(core),
  });
}
