import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Gauge } from 'prom-client';
import { announceComponent } from '#bus/announce.ts';
import type { Bus } from '#bus/bus.ts';
import { componentAnnounce } from '#contracts/collector.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { StatusServer } from '#http/status-server.ts';
import { loadConfig } from '#kernel/config.ts';
import { eventually } from '#testing/eventually.ts';
import { CollectorConfig } from './config.ts';
import { parseExposition } from '#http/exposition.ts';
import type { ComponentView } from './registry.ts';
import { login, TestCollector } from './testing.ts';

describe('the collector', () => {
  let running: TestCollector;
  let bus: Bus;
  before(async () => {
    running = await TestCollector.start();
    ({ bus } = running);
  });
  after(async () => await running[Symbol.asyncDispose]());

  const get = async (path: string, authorization = basicAuthHeader(login)): Promise<Response> =>
    await fetch(`${running.url}${path}`, { headers: { authorization } });
  const component = async (type: string, index = 0): Promise<ComponentView | undefined> => {
    const all = (await (await get('/components')).json()) as ComponentView[];
    return all.find((view) => view.type === type && view.index === index);
  };
  /** A component's status face on the bus, as every component of ours has it. */
  const appear = async (type: string, isHealthy = () => true): Promise<AsyncDisposableStack> => {
    const stack = new AsyncDisposableStack();
    const credentials = { user: type, password: `${type}:secret` };
    const status = stack.use(
      await StatusServer.start({ host: '127.0.0.1', port: 0, credentials, isHealthy, varz: () => ({ routes: 7 }) }),
    );
    const registers = [status.registry];
    new Gauge({ name: 'shared_value', help: 'of several', labelNames: ['component'], registers }).set(
      { component: 'own "word"' },
      5,
    );
    stack.use(announceComponent({ bus, type, index: 0, version: '1.2.3', host: status.address, credentials }));
    return stack;
  };

  it('finds itself and whoever makes itself known, and says how they are', async () => {
    await using _router = await appear('Router');
    const router = await eventually('the router healthy and measured', async () => {
      const found = await component('Router');
      return found?.healthy === true && found.memory_bytes !== null && found;
    });
    assert.equal(router.pid, process.pid);
    assert.equal(router.version, '1.2.3');
    assert.ok(router.uptime_s >= 0 && (router.memory_bytes ?? 0) > 1e6);
    const own = await eventually('itself', async () => await component('Collector'));
    assert.equal(own.version, '0.1.0');
  });

  it('notices that a component is not well, and that it is well again', async () => {
    let isHealthy = true;
    await using _uaa = await appear('UAA', () => isHealthy);
    await eventually('healthy', async () => (await component('UAA'))?.healthy === true);
    isHealthy = false;
    await eventually('not healthy', async () => (await component('UAA'))?.healthy === false);
    isHealthy = true;
    await eventually('healthy again', async () => (await component('UAA'))?.healthy === true);
  });

  it('forgets a component as soon as another has taken its place', async () => {
    const first = await appear('DEA');
    const before_restart = await eventually('the first', async () => await component('DEA'));
    await first.disposeAsync();
    await eventually('the first not healthy', async () => (await component('DEA'))?.healthy === false);
    await using _second = await appear('DEA');
    await eventually('only the second', async () => {
      const all = (await (await get('/components')).json()) as ComponentView[];
      const deas = all.filter(({ type }) => type === 'DEA');
      return deas.length === 1 && deas[0]?.uuid !== before_restart.uuid;
    });
  });

  it('shows the metrics of all as one, labelled by whose they are', async () => {
    await using _one = await appear('Warden');
    await using _other = await appear('HM9000');
    const text = await eventually('both', async () => {
      const metrics = await (await get('/metrics')).text();
      const isBoth = ['Warden', 'HM9000'].every((type) => metrics.includes(`shared_value{component="${type}",`));
      return isBoth && metrics.includes('component_varz{component="Warden"') && metrics;
    });
    assert.match(
      text,
      /^shared_value\{component="Warden",index="0",instance="127.0.0.1:\d+",exported_component="own \\"word\\""\} 5$/m,
    );
    assert.match(text, /^component_varz\{component="Warden",index="0",instance="[^"]+",name="routes"\} 7$/m);
    assert.match(text, /^component_healthy\{component="HM9000",[^}]+\} [01]$/m);
    assert.match(text, /^host_memory_available_bytes\{component="Collector"/m);
    assert.match(text, /^host_disk_available_bytes\{component="Collector",.*path="\/"\} \d+$/m);
    for (const name of ['shared_value', 'process_cpu_seconds_total']) {
      assert.equal(text.split(`# TYPE ${name} `).length, 2, `${name} has one TYPE`);
    }
    // What Prometheus would refuse: a line that is none of the format's, or a sample of a family whose header is elsewhere.
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const read = parseExposition(text, 1e6);
    assert.equal(
      read.reduce((sum, { samples }) => sum + samples.length, 0),
      lines.length,
    );
  });

  it('keeps a history of every number', async () => {
    await using _router = await appear('Router');
    const query = `/series?name=shared_value&label=${encodeURIComponent('component="Router"')}`;
    const points = await eventually('two points', async () => {
      const [series] = (await (await get(query)).json()) as { points: [number, number][] }[];
      return series !== undefined && series.points.length >= 2 && series.points;
    });
    assert.equal(points[0]?.[1], 5);
    const step_ms = (points[1]?.[0] ?? 0) - (points[0]?.[0] ?? 0);
    // A step at which a busy machine asked nobody is left out.
    assert.ok(step_ms > 0 && step_ms % 1000 === 0, String(step_ms));
    assert.ok(((await (await get('/series')).json()) as string[]).includes('nats_ping_seconds'));
  });

  it('outlives components that answer nonsense or not at all', async () => {
    const server = createServer((request, response) => {
      if (request.url === '/metrics') return void response.end('}{ nonsense\nfine 1\nx{a="}"} 2\n');
      if (request.url === '/varz') return void response.end('{"broken');
      response.end('maybe');
      return undefined;
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const announce = (type: string, host: string): void =>
      void bus.publish(componentAnnounce, {
        type,
        index: 0,
        host,
        credentials: ['a', 'b'],
        uuid: `0-${type}`,
        start: new Date().toISOString(),
        uptime: '0d:0h:0m:1s',
        version: '1',
        pid: 1,
      });
    try {
      announce('Odd', `127.0.0.1:${port}`);
      announce('Dead', '127.0.0.1:1');
      await eventually('both known as not healthy', async () => {
        const [odd, dead] = await Promise.all([component('Odd'), component('Dead')]);
        return odd?.healthy === false && dead?.healthy === false;
      });
      await eventually('what was good of it', async () =>
        /^fine\{component="Odd",/m.test(await (await get('/metrics')).text()),
      );
    } finally {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  });

  it('shows nothing to who has no password', async () => {
    for (const path of ['/components', '/metrics', '/series']) {
      assert.equal((await get(path, basicAuthHeader({ user: 'collector', password: 'wrong' }))).status, 401);
    }
  });

  it('has an example of its configuration that is valid', () => {
    loadConfig(CollectorConfig, resolve(import.meta.dirname, '../../config/collector.example.yml'));
  });
});
