import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { Bus } from '#bus/bus.ts';
import { exchange } from '#contracts/topic.ts';
import { systemClock } from '#kernel/clock.ts';
import { loadConfig } from '#kernel/config.ts';
import { createLog, silentLog } from '#kernel/log.ts';
import { requestHeaders } from '#kernel/request-scope.ts';
import { isTracing } from '#kernel/trace.ts';
import { eventually } from '#testing/eventually.ts';
import { TestNats } from '#testing/nats.ts';
import { OtlpExporter, TracingConfig } from './otlp.ts';
import { createHttpServer, listen } from './server.ts';

interface SentSpan {
  service: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  status: { code?: number };
  attributes: { key: string; value: { stringValue?: string; intValue?: string } }[];
}

/** What receives OTLP over HTTP: it keeps the spans, by the paths and fields that the protocol names. */
class Receiver implements AsyncDisposable {
  readonly spans: SentSpan[] = [];
  status = 200;
  requests = 0;
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      this.requests += 1;
      if (request.url !== '/v1/traces' || request.headers['content-type'] !== 'application/json') this.status = 415;
      if (this.status === 200) this.#keep(Buffer.concat(chunks).toString());
      response.writeHead(this.status).end('{}');
    });
  });

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  #keep(body: string): void {
    const { resourceSpans } = JSON.parse(body) as {
      resourceSpans: {
        resource: { attributes: SentSpan['attributes'] };
        scopeSpans: { spans: Omit<SentSpan, 'service'>[] }[];
      }[];
    };
    for (const { resource, scopeSpans } of resourceSpans) {
      const service = resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '';
      for (const { spans } of scopeSpans) this.spans.push(...spans.map((span) => ({ ...span, service })));
    }
  }
}

const echo = exchange('dea.0a000000-0000-4000-8000-000000000001.start', z.object({}), z.object({ trace: z.string() }));
const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;

describe('traces', () => {
  it('follow a request through HTTP and the bus, each part below what asked for it', async () => {
    await using nats = await TestNats.start();
    await using receiver = new Receiver();
    const config = TracingConfig.parse({ otlp_endpoint: await receiver.listen(), interval_s: 0.05 });
    await using _exporter = new OtlpExporter(config, { clock: systemClock, log: silentLog });
    const log = createLog({ component: 'cloud-controller', level: 'silent' });
    await using bus = await Bus.connect({ servers: [nats.url], name: 'cloud-controller', log });
    await using dea = await Bus.connect({ servers: [nats.url], name: 'dea-0', log });
    dea.reply(echo, () => ({ trace: requestHeaders()['traceparent'] ?? '' }));
    await dea.flush();
    await using server = createHttpServer({ log, body_limit_bytes: 1000 });
    server.post('/v3/apps/:guid/actions/start', async () => await bus.request(echo, {}, { timeout_ms: 5000 }));
    server.get('/broken', async () => {
      throw new Error('broken');
    });
    const { port } = await listen(server, { host: '127.0.0.1', port: 0 });
    const ask = async (path: string, headers: Record<string, string>, method = 'GET'): Promise<Response> =>
      await fetch(`http://127.0.0.1:${port}${path}`, { method, headers });
    const answer = await ask('/v3/apps/some-guid/actions/start', { traceparent, 'x-vcap-request-id': 'r' }, 'POST');
    const { trace } = (await answer.json()) as { trace: string };
    await ask('/broken', { traceparent });
    await ask('/broken', {});
    await ask('/broken', { traceparent: `${traceparent.slice(0, -1)}0` });
    const [started, order, broken] = await eventually('three spans', () => {
      const named = (name: string): SentSpan | undefined => receiver.spans.find((span) => span.name === name);
      const all = [named('POST /v3/apps/:guid/actions/start'), named('dea.*.start'), named('GET /broken')];
      return all.every((span) => span !== undefined) && all;
    });
    assert.deepEqual([started?.service, started?.kind, started?.parentSpanId], ['cloud-controller', 2, 'b'.repeat(16)]);
    assert.deepEqual([order?.service, order?.kind, order?.parentSpanId], ['dea', 5, started?.spanId]);
    assert.equal(trace, `00-${'a'.repeat(32)}-${order?.spanId}-01`);
    assert.deepEqual([started?.status, broken?.status], [{}, { code: 2 }]);
    const facts = Object.fromEntries(
      (started?.attributes ?? []).map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue)]),
    );
    assert.equal(facts['http.response.status_code'], 200);
    assert.match(String(facts['request_id']), /^r::/);
    for (const span of receiver.spans) {
      assert.equal(span.traceId, 'a'.repeat(32));
      assert.ok(BigInt(span.endTimeUnixNano) >= BigInt(span.startTimeUnixNano));
    }
    assert.equal(receiver.spans.length, 3, 'a request that is not traced, or not to be recorded, is none');
  });

  it('are off without an exporter, and pass what came', async () => {
    assert.equal(isTracing(), false);
    await using server = createHttpServer({ log: silentLog, body_limit_bytes: 1000 });
    server.get('/', async () => requestHeaders());
    const answer = await server.inject({ url: '/', headers: { traceparent } });
    assert.equal(answer.json<Record<string, string>>()['traceparent'], traceparent);
  });

  it('that a receiver does not take are dropped and counted, and hinder nobody', async () => {
    await using receiver = new Receiver();
    const config = TracingConfig.parse({ otlp_endpoint: await receiver.listen(), interval_s: 1000, max_waiting: 2 });
    receiver.status = 503;
    await using exporter = new OtlpExporter(config, { clock: systemClock, log: silentLog });
    await using server = createHttpServer({ log: silentLog, body_limit_bytes: 1000 });
    server.get('/', async () => ({}));
    const ask = async (): Promise<void> => void (await server.inject({ url: '/', headers: { traceparent } }));
    for (let n = 0; n < 3; n++) await ask();
    assert.deepEqual(exporter.figures, { sent: 0, dropped: 1 });
    await exporter.flush();
    assert.deepEqual(exporter.figures, { sent: 0, dropped: 3 });
    receiver.status = 200;
    await ask();
    await exporter.flush();
    assert.deepEqual([exporter.figures, receiver.spans.length], [{ sent: 1, dropped: 3 }, 1]);
  });

  it('have an example of their configuration that is valid', () => {
    loadConfig(TracingConfig, resolve(import.meta.dirname, '../../config/tracing.example.yml'));
  });
});
