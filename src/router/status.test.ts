import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { componentDiscover } from '#contracts/collector.ts';
import { envelopes, type Envelope } from '#contracts/loggregator.ts';
import { type Span, traceTo } from '#kernel/trace.ts';
import { eventually } from '#testing/eventually.ts';
import { RawBackend, RawClient, talk, TestRouter } from './testing.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';

describe('the router tells', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ingot-router-log-'));
  const access_log_file = join(folder, 'access.log');
  let router: TestRouter;
  let backend: RawBackend;
  before(async () => {
    router = await TestRouter.start({
      logging: {
        access_log_file,
        flush_interval_ms: 10,
        app_lines_per_s: 5,
        has_http_timers: true,
        app_figures_interval_s: 0.3,
      },
    });
    backend = await RawBackend.answering(OK);
    await router.register({
      host: '127.0.0.1',
      port: backend.port,
      uris: ['log.test/ctx'],
      app: 'app-1',
      private_instance_id: 'inst-1',
      private_instance_index: '3',
      tags: { process_id: 'proc-1', component: 'dea-1' },
      endpoint_updated_at_ns: Date.now() * 1e6,
    });
  });
  after(async () => {
    await backend[Symbol.asyncDispose]();
    await router[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  const request =
    'GET /ctx?q HTTP/1.1\r\nHost: log.test\r\nConnection: close\r\nUser-Agent: a "quoted" agent\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n';

  let asked = 0;
  const ask = async (): Promise<string> => {
    asked += 1;
    return await talk(router.port, request);
  };

  it('the file of every request, in one line', async () => {
    const requestId = /X-Vcap-Request-Id: (\S+)/.exec(await ask())?.[1] ?? 'none';
    const line = await eventually('the line', () =>
      readFileSync(access_log_file, 'utf8')
        .split('\n')
        .find((one) => one.includes(requestId)),
    );
    const seconds = '\\d+\\.\\d{6}';
    assert.match(
      line,
      new RegExp(
        `^log\\.test - \\[\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z\\] "GET /ctx\\?q HTTP/1\\.1" 200 0 5 "-" "a \\\\"quoted\\\\" agent" "127\\.0\\.0\\.1:\\d+" "127\\.0\\.0\\.1:${backend.port}" ` +
          `x_forwarded_for:"1\\.1\\.1\\.1, 127\\.0\\.0\\.1" x_forwarded_proto:"http" vcap_request_id:"${requestId}" response_time:${seconds} gorouter_time:${seconds} ` +
          `app_id:"app-1" app_index:"3" instance_id:"inst-1" failed_attempts:0 x_cf_routererror:"-"$`,
      ),
    );
  });

  it("the app's own log of the same, as RTR, and how many were too many", async () => {
    const heard: Envelope[] = [];
    using _subscription = router.bus.subscribe(envelopes('app-1'), ({ batch }) => void heard.push(...batch));
    await router.bus.flush();
    for (let n = 0; n < 12; n++) await ask();
    const texts = (): string[] =>
      heard.map((envelope) => Buffer.from(envelope.log?.payload ?? '', 'base64').toString());
    await eventually('the lines', () => texts().some((text) => text.startsWith('log.test - [')));
    await eventually('the note', () =>
      texts().some((text) => /^router: \d+ access log lines of this app were left out/.test(text)),
    );
    const first = heard.find(({ log }) => log);
    assert.deepEqual(
      [first?.source_id, first?.instance_id, first?.tags, first?.log?.type],
      ['app-1', '3', { process_id: 'proc-1', component: 'dea-1', source_type: 'RTR' }, 'OUT'],
    );
    const timed = heard.find(({ timer }) => timer);
    const { start = '0', stop = '0', name } = timed?.timer ?? {};
    assert.equal(name, 'http');
    assert.ok(BigInt(stop) > BigInt(start) && Math.abs(Number(BigInt(start) / 1_000_000n) - Date.now()) < 60_000);
    const { request_id = '', remote_address = '', ...tags } = timed?.tags ?? {};
    assert.deepEqual(tags, {
      process_id: 'proc-1',
      component: 'dea-1',
      source_type: 'RTR',
      routing_instance_id: 'inst-1',
      method: 'GET',
      uri: 'log.test/ctx?q',
      status_code: '200',
      content_length: '5',
      peer_type: 'Server',
      user_agent: 'a "quoted" agent',
    });
    assert.ok(texts().some((text) => text.includes(request_id)) && remote_address.startsWith('127.0.0.1:'));
  });

  it('the app what each instance answered, and how soon, as counters', async () => {
    const heard: Envelope[] = [];
    using _subscription = router.bus.subscribe(envelopes('app-1'), ({ batch }) => void heard.push(...batch));
    await router.bus.flush();
    const last = (name: string, tags: Record<string, string>): Envelope | undefined =>
      heard.findLast(
        (one) => one.counter?.name === name && Object.entries(tags).every(([tag, value]) => one.tags[tag] === value),
      );
    const total = (name: string, tags: Record<string, string>): number => Number(last(name, tags)?.counter?.total);
    for (let n = 0; n < 3; n++) await ask();
    await eventually('all that were asked', () => total('requests', { status_class: '2xx' }) === asked);
    const told = last('requests', { status_class: '2xx' });
    assert.deepEqual(
      [told?.instance_id, told?.tags],
      ['3', { process_id: 'proc-1', component: 'dea-1', source_type: 'RTR', router: '0', status_class: '2xx' }],
    );
    await eventually('latencies of as many', () => {
      const count = total('latency_seconds_count', {});
      return count === asked && count === total('latency_seconds_bucket', { le: '+Inf' });
    });
    const sum = heard.findLast(({ gauge }) => gauge?.metrics['latency_seconds_sum'])?.gauge?.metrics;
    assert.ok((sum?.['latency_seconds_sum']?.value ?? 0) > 0);
  });

  it('a trace of each request, as the span that the endpoint is told to be below', async () => {
    const spans: Span[] = [];
    using _tracing = traceTo((span) => void spans.push(span));
    const parent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    await talk(router.port, request.replace('User-Agent', `traceparent: ${parent}\r\nUser-Agent`));
    const span = await eventually('the span', () => spans[0]);
    const told = /^traceparent: (00-a{32}-.*)\r$/m.exec(backend.heard.join(''))?.[1];
    assert.equal(told, `00-${'a'.repeat(32)}-${span.span_id}-01`);
    assert.deepEqual(
      [span.component, span.parent_span_id, span.name, span.is_error, span.attributes['http.response.status_code']],
      ['router', 'b'.repeat(16), 'GET log.test', false, 200],
    );
    await talk(router.port, request);
    const own = await eventually('one of its own', () => spans[1]);
    assert.equal(own.parent_span_id, undefined);
    assert.equal(own.trace_id, String(own.attributes['request_id']).replaceAll('-', ''));
  });

  it('its routes, facts and figures to who may read them', async () => {
    assert.equal((await fetch(`http://${router.addresses['status']}/routes`)).status, 401);
    const routes = JSON.parse((await router.status('/routes')).text) as Record<
      string,
      { address: string; ttl: number; private_instance_id: string }[]
    >;
    assert.deepEqual(
      [
        routes['log.test/ctx']?.[0]?.address,
        routes['log.test/ctx']?.[0]?.ttl,
        routes['log.test/ctx']?.[0]?.private_instance_id,
      ],
      [`127.0.0.1:${backend.port}`, 120, 'inst-1'],
    );
    await talk(router.port, request);
    const varz = JSON.parse((await router.status('/varz')).text) as {
      requests: number;
      responses_2xx: number;
      urls: number;
      type: string;
      uptime: string;
      log_counts: object;
      top10_app_requests: { application_id: string; rpm: number }[];
      tags: { component: Record<string, { requests: number; responses_2xx: number }> };
    };
    const [busiest] = varz.top10_app_requests;
    const ofComponent = varz.tags.component['dea-1'];
    assert.deepEqual(
      [varz.type, varz.urls, Object.keys(varz.log_counts), busiest?.application_id, busiest?.rpm],
      ['Router', 1, ['info', 'warn', 'error'], 'app-1', ofComponent?.requests],
    );
    assert.ok(varz.requests > (ofComponent?.requests ?? 0) && varz.responses_2xx === ofComponent?.responses_2xx);
    assert.match(varz.uptime, /^0d:0h:\d+m:\d+s$/);
    const metrics = (await router.status('/metrics')).text;
    const told = (name: string): number =>
      Number(
        metrics
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.slice(name.length) ?? Number.NaN,
      );
    const total = told('total_requests{component="dea-1"}') + told('total_requests{component=""}');
    assert.ok(total >= varz.requests, metrics);
    for (const name of [
      'responses{status_group="2xx"}',
      'latency_bucket{component="dea-1",le="+Inf"}',
      'http_latency_seconds_count{source_id="gorouter"}',
      'gorouter_time_count',
      'route_lookup_time_count',
      'route_registration_latency_count',
      'registry_message{action="added",component="dea-1"}',
      'file_descriptors',
      'total_routes',
    ])
      assert.ok(told(name) > 0, `${name} in ${metrics}`);
    for (const name of [
      'backend_exhausted_conns',
      'backend_invalid_id',
      'backend_invalid_tls_cert',
      'backend_tls_handshake_failed',
      'routes_pruned',
      'websocket_upgrades',
      'websocket_failures',
      'responses_route_services{status_group="5xx"}',
    ])
      assert.equal(told(name), 0, name);
    for (const name of ['rejected_requests', 'bad_gateways', 'ms_since_last_registry_update'])
      assert.ok(told(name) >= 0, name);
    assert.match(metrics, /^# TYPE latency histogram$/m);
    assert.equal((await router.status('/health')).text, 'ok');
    assert.equal((await router.bus.request(componentDiscover, {}, { timeout_ms: 5000 })).type, 'Router');
  });
});

describe('a router that is stopped', () => {
  it('says so, finishes what is under way, and takes nothing new', async () => {
    const router = await TestRouter.start({ drain: { wait_s: 0.5, timeout_s: 20 }, timeouts: { linger_s: 0.3 } });
    let answer: (() => void) | undefined;
    await using backend = await RawBackend.start((socket) => (answer = () => void socket.write(OK)));
    await router.register({ host: '127.0.0.1', port: backend.port, uris: ['drain.test'] });
    using idle = new RawClient(router.port);
    using busy = new RawClient(router.port);
    busy.say('GET / HTTP/1.1\r\nHost: drain.test\r\n\r\n');
    await eventually('the request under way', () => answer);
    const port = router.port;
    const stopped = router[Symbol.asyncDispose]();
    const probe = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: HTTP-Monitor/1.1\r\n\r\n';
    assert.match(await talk(port, probe), /^HTTP\/1\.1 503 /);
    assert.equal((await router.status('/health')).status, 503);
    await idle.ends();
    await eventually('no new connections', async () => (await talk(port, probe)) === '');
    answer?.();
    assert.match(await busy.ends(), /\r\nConnection: close\r\n[^]*hello$/);
    await stopped;
  });
});
