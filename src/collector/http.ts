import type { FastifyInstance } from 'fastify';
import { isAuthorized, type Credentials } from '#http/basic-auth.ts';
import type { Collector } from './collector.ts';

/**
 * All of it behind basic auth:
 * GET /components           JSON array of what is known of each component
 * GET /forecasts            JSON array of what of the machine fills up, the first first: `what`, `labels`, `full_in_s` (null: not foreseeable)
 * GET /metrics              Prometheus text of all components
 * GET /series               JSON array of the names of which a history is kept
 * GET /series?name=&label=  JSON array of series: {name, labels, points: [[ms, value]…]}; `label` such as component="Router"
 */
export function serveCollector(server: FastifyInstance, collector: Collector, credentials: Credentials): void {
  server.addHook('onRequest', async (request, reply) => {
    if (isAuthorized(request.headers.authorization, credentials)) return undefined;
    return await reply.code(401).header('WWW-Authenticate', 'Basic realm="collector"').send({ error: 'unauthorized' });
  });
  server.get('/components', async () => collector.components());
  server.get('/forecasts', async () => collector.forecasts());
  server.get('/metrics', async (_request, reply) => {
    return await reply.type('text/plain; version=0.0.4; charset=utf-8').send(collector.metrics());
  });
  server.get<{ Querystring: Record<string, string | string[] | undefined> }>('/series', async (request) => {
    const { name, label } = request.query;
    if (typeof name !== 'string') return collector.seriesNames();
    return collector.series(name, typeof label === 'string' ? label : '');
  });
}
