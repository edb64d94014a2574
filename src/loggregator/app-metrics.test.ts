import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { routerRegister, type RouteMessage } from '#contracts/router.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { systemClock } from '#kernel/clock.ts';
import { eventually } from '#testing/eventually.ts';
import { AppMetrics } from './app-metrics.ts';
import { gauge, TestLoggregator } from './testing.ts';

const APP = '8c7f2e1a-0000-4000-8000-00000000000a';
const ASKING = '8c7f2e1a-0000-4000-8000-00000000000b';
const tags = {
  app_id: APP,
  app_name: 'shop',
  space_name: 'dev',
  organization_name: 'acme',
  process_id: 'p-1',
  process_type: 'web',
  process_instance_id: 'changes-with-each-instance',
};
const origin = { source_id: APP, instance_id: '2', source_type: 'APP/PROC/WEB', tags };

describe('figures of apps', () => {
  let test: TestLoggregator;
  before(async () => {
    test = await TestLoggregator.start();
  });
  after(async () => await test[Symbol.asyncDispose]());

  const metrics = async (): Promise<string> => {
    const { user, password } = test.config.status;
    const headers = { authorization: basicAuthHeader({ user, password }) };
    return await (await fetch(`${test.statusUrl}/metrics`, { headers })).text();
  };
  const shown = async (pattern: RegExp): Promise<string> =>
    await eventually(String(pattern), async () => {
      const text = await metrics();
      return pattern.test(text) && text;
    });
  const whose =
    'app_id="8c7f2e1a-0000-4000-8000-00000000000a",instance_index="2",app_name="shop",space_name="dev",organization_name="acme",process_id="p-1",process_type="web"';

  it('are shown to Prometheus with whose they are, the last value of each', async () => {
    for (const value of [1, 42]) {
      test.emitter.emitMeasurement(origin, {
        gauge: { metrics: { memory: { unit: 'bytes', value }, cpu: { unit: 'percentage', value: 12.5 } } },
      });
    }
    const text = await shown(new RegExp(`^app_memory_bytes\\{${whose}\\} 42$`, 'm'));
    assert.match(text, new RegExp(`^app_cpu_percent\\{${whose}\\} 12\\.5$`, 'm'));
    assert.match(text, /^# TYPE app_memory_bytes gauge$/m);
    assert.doesNotMatch(text, /changes-with-each-instance/);
  });

  it('are counters and histograms where they count', async () => {
    const count = (name: string, total: number, more: Record<string, string>): void =>
      test.emitter.emitMeasurement(
        { ...origin, source_type: 'RTR', tags: { ...tags, router: '0', ...more } },
        { counter: { name, total: String(total) } },
      );
    count('requests', 7, { status_class: '2xx' });
    count('latency_seconds_bucket', 5, { le: '0.1' });
    count('latency_seconds_bucket', 7, { le: '+Inf' });
    count('latency_seconds_count', 7, {});
    const text = await shown(/^app_latency_seconds_count\{.*\} 7$/m);
    assert.match(text, new RegExp(`^app_requests_total\\{${whose},status_class="2xx",router="0"\\} 7$`, 'm'));
    assert.match(text, /^# TYPE app_requests_total counter$/m);
    assert.match(text, /^# TYPE app_latency_seconds histogram$/m);
    assert.match(text, new RegExp(`^app_latency_seconds_bucket\\{${whose},le="0.1",router="0"\\} 5$`, 'm'));
  });

  it('are found by PromQL in the log cache as well', async () => {
    const admin = await test.neighbours.bearer('admin', ['logs.admin']);
    const query = `sum by (status_class) (requests{source_id="${APP}"})`;
    const answer = await eventually('the count', async () => {
      const response = await test.get(`/api/v1/query?query=${encodeURIComponent(query)}`, admin);
      const { data } = (await response.json()) as { data: { result: { metric: object; value: [number, string] }[] } };
      return data.result.length > 0 && data.result;
    });
    assert.deepEqual([answer[0]?.metric, answer[0]?.value[1]], [{ status_class: '2xx' }, '7']);
  });

  it('never are more than there is room for', () => {
    const kept = new AppMetrics({ clock: systemClock, max_series: 10, max_series_per_app: 4 });
    for (const app of ['a', 'b', 'c', 'd']) {
      for (let n = 0; n < 6; n++) kept.take(APP.slice(0, -1) + app, [gauge(n, `name${n}`, n)]);
    }
    assert.deepEqual(kept.figures, { series: 10, refused: 14 });
    assert.equal(kept.exposition().flatMap(({ samples }) => samples).length, 10);
  });

  describe('of their own', () => {
    let server: Server;
    const asked: string[] = [];
    let status = 200;
    let page = '';
    before(async () => {
      server = createServer((request, response) => {
        asked.push(`${request.headers.host} ${request.url}`);
        response.writeHead(status).end(page);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      await test.stop();
      Object.assign(test.config.app_metrics, { scrape_s: 0.05, max_samples: 20 });
      Object.assign(test.config.drains, { poll_s: 0.1 });
      test.neighbours.drains = {
        results: [
          {
            url: 'metrics-endpoint:///own/metrics',
            credentials: [{ apps: [{ hostname: 'o.s.a', app_id: ASKING }] }],
          },
        ],
        next_id: null,
      };
      await test.resume();
    });
    after(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });

    const register = (app: string): void => {
      const message: RouteMessage = {
        host: '127.0.0.1',
        port: (server.address() as AddressInfo).port,
        uris: ['shop.test/ctx'],
        app,
        private_instance_index: '1',
        tags: { ...tags, app_id: app },
      };
      test.bus.publish(routerRegister, message);
    };
    const lines = async (): Promise<string[]> => {
      const admin = await test.neighbours.bearer('admin', ['logs.admin']);
      const answer = await test.get(`/api/v1/read/${ASKING}?envelope_types=LOG&limit=1000`, admin);
      if (answer.status !== 200) return [];
      const { envelopes } = (await answer.json()) as { envelopes: { batch: { log: { payload: string } }[] } };
      return envelopes.batch.map(({ log }) => Buffer.from(log.payload, 'base64').toString());
    };

    it('are read from each instance of an app that asks for it, and of no other', async () => {
      page = [
        '# TYPE orders_total counter',
        'orders_total{kind="book",app_name="a lie"} 3',
        '# TYPE temperature gauge',
        'temperature 21.5',
        '# TYPE took histogram',
        'took_bucket{le="1"} 2',
        'took_bucket{le="+Inf"} 3',
        'took_sum 4.5',
        'took_count 3',
      ].join('\n');
      const text = await eventually('the figures', async () => {
        register(APP);
        register(ASKING);
        const all = await metrics();
        return all.includes('custom_took_count') && all;
      });
      const label = (name: string): string =>
        new RegExp(`^${name}\\{(.*)\\} (\\S+)$`, 'm').exec(text)?.slice(1).join(' ') ?? '';
      assert.match(
        label('custom_orders_total'),
        /^app_id="8c7f2e1a-0000-4000-8000-00000000000b",instance_index="1",app_name="shop",.*kind="book" 3$/,
      );
      assert.match(label('custom_temperature'), / 21\.5$/);
      assert.match(text, /^# TYPE custom_took histogram$/m);
      assert.match(text, /^custom_took_sum\{.*\} 4\.5$/m);
      assert.doesNotMatch(text, /custom_temperature\{app_id="8c7f2e1a-0000-4000-8000-00000000000a"/);
      assert.deepEqual([...new Set(asked)], ['shop.test /own/metrics']);
    });

    it('that cannot be read are told of in the app’s log, once, and so is their return', async () => {
      status = 404;
      await eventually('told', async () =>
        (await lines()).includes('the metrics of instance 1 at /own/metrics cannot be read: it answers 404'),
      );
      status = 200;
      await eventually('told again', async () =>
        (await lines()).includes('the metrics of instance 1 at /own/metrics are read again'),
      );
      page = Array.from({ length: 21 }, (_, n) => `m${n} 1`).join('\n');
      await eventually('too many', async () =>
        (await lines()).some((line) => line.endsWith('it shows more than 20 samples')),
      );
      const before_more = (await lines()).length;
      const asked_before = asked.length;
      await eventually('asked again', () => asked.length > asked_before + 5);
      assert.equal((await lines()).length, before_more);
    });

    it('are asked for no more when the service is unbound', async () => {
      test.neighbours.drains = { results: [], next_id: null };
      await eventually('none', async () => /^loggregator_metrics_endpoints 0$/m.test(await metrics()));
      const asked_before = asked.length;
      register(ASKING);
      await test.bus.flush();
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.ok(asked.length <= asked_before + 1);
    });
  });
});
