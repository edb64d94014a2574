import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { authenticated, type LogCacheOptions, SourceHidden } from './log-cache.ts';
import { type Data, evaluate, type Series, type Value } from './promql.ts';
import { type Expression, parseDuration, parsePromql, PromqlInvalid } from './promql-parser.ts';
import { gather, MAX_STEPS, type Moments, over, type Span } from './promql-range.ts';
import { loadSeries, sourceOf } from './promql-series.ts';
import { first, QueryInvalid, type QueryParameters } from './read-query.ts';

type Request = FastifyRequest<{ Querystring: QueryParameters }>;

/**
 * `/api/v1/query` and `/api/v1/query_range`: PromQL over the store's counters, gauges and timers, in Prometheus' own form of
 * answer. Source: log-cache's README, prometheus.io/docs/prometheus/latest/querying/api.
 */
export function servePromql(server: FastifyInstance, options: LogCacheOptions): void {
  server.get('/api/v1/query', async (request: Request, reply) => {
    return await answering(reply, async () => {
      const at_ms = timeOf(request.query, 'time') ?? options.clock.now();
      const { expression, data } = await prepare(request, options, { start_ms: at_ms, end_ms: at_ms });
      return presentInstant(evaluate(expression, at_ms, data), at_ms);
    });
  });
  server.get('/api/v1/query_range', async (request: Request, reply) => {
    return await answering(reply, async () => {
      const moments = momentsOf(request.query);
      const { expression, data } = await prepare(request, options, moments);
      return { resultType: 'matrix', result: (await over(expression, moments, data)).map(presentSeries) };
    });
  });
}

/** Errors: those of reading, of permission, PromqlInvalid. */
async function prepare(
  request: Request,
  { access, store }: LogCacheOptions,
  span: Span,
): Promise<{ expression: Expression; data: Data }> {
  const reader = await authenticated(access, request.headers.authorization);
  const expression = parsePromql(first(request.query, 'query') ?? '');
  const data = await gather(expression, span, async (selector, within) => {
    if (!(await access.mayRead(reader, sourceOf(selector)))) throw new SourceHidden();
    return await loadSeries(store, selector, within);
  });
  return { expression, data };
}

function presentSeries({ labels, samples }: Series): object {
  return { metric: labels, values: samples.map(([at_ms, number]) => [at_ms / 1000, presentNumber(number)]) };
}

function presentInstant(value: Value, at_ms: number): object {
  const at_s = at_ms / 1000;
  if (value.type === 'scalar') return { resultType: 'scalar', result: [at_s, presentNumber(value.value)] };
  const result = value.samples.map(({ labels, value: number }) => ({
    metric: labels,
    value: [at_s, presentNumber(number)],
  }));
  return { resultType: 'vector', result };
}

function presentNumber(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}

async function answering(reply: FastifyReply, work: () => Promise<object>): Promise<FastifyReply> {
  try {
    return await reply.send({ status: 'success', data: await work() });
  } catch (error) {
    if (!(error instanceof PromqlInvalid) && !(error instanceof QueryInvalid)) throw error;
    return await reply.code(400).send({ status: 'error', errorType: 'bad_data', error: error.message });
  }
}

/** Errors: PromqlInvalid. */
function momentsOf(parameters: QueryParameters): Moments {
  const start_ms = timeOf(parameters, 'start');
  const end_ms = timeOf(parameters, 'end');
  const step = first(parameters, 'step') ?? '';
  const step_ms = parseDuration(step) ?? Number(step || NaN) * 1000;
  if (start_ms === undefined || end_ms === undefined) throw new PromqlInvalid('start and end are needed');
  if (!(step_ms > 0)) throw new PromqlInvalid('step must be a duration above zero');
  if (end_ms < start_ms) throw new PromqlInvalid('end must not be before start');
  if ((end_ms - start_ms) / step_ms > MAX_STEPS) throw new PromqlInvalid(`more than ${MAX_STEPS} steps`);
  return { start_ms, end_ms, step_ms };
}

/** Seconds with decimals, or RFC 3339; in ms. Errors: PromqlInvalid. */
function timeOf(parameters: QueryParameters, name: string): number | undefined {
  const text = first(parameters, name);
  if (text === undefined || text === '') return undefined;
  const ms = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) throw new PromqlInvalid(`${name} is no time`);
  return ms;
}
