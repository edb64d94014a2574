import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { Counter, Gauge, Histogram } from 'prom-client';
import { announceComponent } from '#bus/announce.ts';
import { StatusServer } from '#http/status-server.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { hasPrometheus, TestPrometheus } from '#testing/prometheus.ts';
import { RemoteWrite, samplesOf, snappyBlock } from './remote-write.ts';
import { login, TestCollector } from './testing.ts';

/** A component with a counter, a gauge, a histogram, and text that is hard to quote. */
async function odd(collector: TestCollector): Promise<AsyncDisposableStack> {
  const stack = new AsyncDisposableStack();
  const credentials = { user: 'odd', password: 'odd' };
  const status = stack.use(await StatusServer.start({ host: '127.0.0.1', port: 0, credentials }));
  const registers = [status.registry];
  new Counter({ name: 'odd_total', help: 'a "count"\\', registers }).inc(3);
  new Gauge({ name: 'odd_text', help: 'text', labelNames: ['text', 'index'], registers }).set(
    { text: 'a "quoted" \\ text\nof two lines, é', index: 'own' },
    -1.5,
  );
  const histogram = new Histogram({ name: 'odd_seconds', help: 'times', buckets: [0.1, 1], registers });
  for (const value of [0.05, 0.5, 5]) histogram.observe(value);
  const host = status.address;
  stack.use(announceComponent({ bus: collector.bus, type: 'Odd', index: 7, version: '1', host, credentials }));
  return stack;
}

describe('a real Prometheus', { skip: hasPrometheus ? false : 'prometheus is not installed' }, () => {
  it('takes all that the collector shows, scraped', async () => {
    await using collector = await TestCollector.start();
    await using _odd = await odd(collector);
    await using prometheus = await TestPrometheus.start({ target: new URL(collector.url).host, login });
    const [text] = await eventually('scraped', async () => {
      const found = await prometheus.query('odd_text');
      return found.length > 0 && found;
    });
    const { instance, ...metric } = text?.metric ?? {};
    assert.match(instance ?? '', /^127\.0\.0\.1:\d+$/);
    assert.deepEqual(metric, {
      __name__: 'odd_text',
      component: 'Odd',
      index: '7',
      exported_index: 'own',
      text: 'a "quoted" \\ text\nof two lines, é',
      job: 'ingot',
    });
    assert.equal(text?.value, -1.5);
    assert.deepEqual(
      (await prometheus.query('odd_seconds_bucket')).map(({ metric: { le }, value }) => `${le} ${value}`).sort(),
      ['+Inf 3', '0.1 1', '1 2'],
    );
    assert.equal((await prometheus.query('histogram_quantile(0.5, odd_seconds_bucket)')).length, 1);
    const targets = await prometheus.json<{ data: { activeTargets: { health: string; lastError: string }[] } }>(
      '/api/v1/targets',
    );
    assert.deepEqual(
      targets.data.activeTargets.map(({ health, lastError }) => [health, lastError]),
      [['up', '']],
    );
  });

  it('takes all that the collector pushes by remote write', async () => {
    await using prometheus = await TestPrometheus.start();
    const url = `${prometheus.url}/api/v1/write`;
    const labels = { platform: 'here' };
    await using collector = await TestCollector.start({ remote_write: { url, interval_s: 0.5, labels } });
    await using _odd = await odd(collector);
    const [text] = await eventually('pushed', async () => {
      const found = await prometheus.query('odd_text');
      return found.length > 0 && found;
    });
    assert.deepEqual(
      { ...text?.metric, instance: '' },
      {
        __name__: 'odd_text',
        platform: 'here',
        component: 'Odd',
        index: '7',
        instance: '',
        exported_index: 'own',
        text: 'a "quoted" \\ text\nof two lines, é',
      },
    );
    assert.deepEqual(
      (await prometheus.query('odd_seconds_bucket{le="+Inf"}')).map(({ value }) => value),
      [3],
    );
    await eventually('told how much', async () => {
      const [sent] = await prometheus.query('collector_push_sent_samples_total');
      return (sent?.value ?? 0) > 0;
    });
    assert.equal((await prometheus.query('collector_push_dropped_samples_total'))[0]?.value, 0);
  });
});

describe('the push', () => {
  const sample = (n: number): ReturnType<typeof samplesOf> =>
    samplesOf([{ name: 'm', help: '', type: 'gauge', samples: [{ name: 'm', labels: '', value: n }] }], {
      labels: {},
      at_ms: n,
    });
  const pushTo = (port: number): RemoteWrite =>
    new RemoteWrite({
      url: `http://127.0.0.1:${port}/`,
      headers: {},
      timeout_ms: 5_000,
      max_rounds: 3,
      log: silentLog,
    });

  it('keeps the newest rounds while the receiver is away, and counts what went', async () => {
    const port = await freePort();
    const push = pushTo(port);
    for (let n = 1; n <= 5; n++) await push.push(sample(n));
    assert.deepEqual(push.figures, { sent: 0, dropped: 2 });
    let requests = 0;
    const server = createServer((request, response) => {
      requests += 1;
      request.resume().on('end', () => response.writeHead(204).end());
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    try {
      await push.push(sample(6));
      assert.deepEqual(push.figures, { sent: 3, dropped: 3 });
      assert.equal(requests, 3);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('gives up what the receiver will never take, and goes on with what comes next', async () => {
    let status = 400;
    const server = createServer((request, response) => {
      request.resume().on('end', () => response.writeHead(status).end('out of order'));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const push = pushTo((server.address() as AddressInfo).port);
      await push.push(sample(1));
      status = 204;
      await push.push(sample(2));
      assert.deepEqual(push.figures, { sent: 1, dropped: 1 });
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('writes blocks of snappy longer than one literal', () => {
    const bytes = Buffer.alloc(150_000, 'x');
    const block = snappyBlock(bytes);
    assert.equal(block.length, 3 + bytes.length + 3 * 3);
  });
});
