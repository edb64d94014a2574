import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bus } from '#bus/bus.ts';
import type { Credentials } from '#http/basic-auth.ts';
import { systemClock } from '#kernel/clock.ts';
import type { RunningComponent } from '#kernel/component.ts';
import { silentLog } from '#kernel/log.ts';
import { eventually } from '#testing/eventually.ts';
import { freePort } from '#testing/free-port.ts';
import { TestNats } from '#testing/nats.ts';
import { CollectorConfig } from './config.ts';
import { start } from './main.ts';

export const login = { user: 'collector', password: 'secret' };

/** The collector as it runs, on a real bus, in a hurry. */
export class TestCollector implements AsyncDisposable {
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly url: string;
  readonly #running: RunningComponent;

  private constructor(nats: TestNats, bus: Bus, running: RunningComponent) {
    this.nats = nats;
    this.bus = bus;
    this.url = running.addresses['http'] ?? '';
    this.#running = running;
  }

  static async start(overrides: object = {}): Promise<TestCollector> {
    const nats = await TestNats.start();
    const bus = await Bus.connect({ servers: [nats.url], name: 'test', log: silentLog });
    const config = CollectorConfig.parse({
      nats_servers: [nats.url],
      listen: { port: 0 },
      login,
      status: { user: 'own', password: 'own' },
      intervals: { discover_s: 0.2, varz_s: 0.1, healthz_s: 0.1, local_metrics_s: 0.1, prune_s: 60 },
      history: { step_s: 1, retention_s: 60 },
      ...overrides,
    });
    return new TestCollector(nats, bus, await start(config, { log: silentLog, clock: systemClock }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running[Symbol.asyncDispose]();
    await this.bus[Symbol.asyncDispose]();
    await this.nats[Symbol.asyncDispose]();
  }
}

export const hasPrometheus = spawnSync('prometheus', ['--version']).status === 0;

/** A real Prometheus that scrapes one address, if any, and takes remote writes. */
export class TestPrometheus implements AsyncDisposable {
  readonly url: string;
  readonly #folder: string;
  readonly #child: ChildProcess;

  private constructor(url: string, folder: string, child: ChildProcess) {
    this.url = url;
    this.#folder = folder;
    this.#child = child;
  }

  static async start(scrape?: { target: string; login: Credentials; rules?: string }): Promise<TestPrometheus> {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-prometheus-'));
    const port = await freePort();
    const job = {
      job_name: 'ingot',
      honor_labels: true,
      basic_auth: scrape && { username: scrape.login.user, password: scrape.login.password },
      static_configs: [{ targets: [scrape?.target] }],
    };
    const config = {
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      ...(scrape?.rules !== undefined && { rule_files: [scrape.rules] }),
      ...(scrape && { scrape_configs: [job] }),
    };
    // JSON is YAML.
    await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config));
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--web.enable-remote-write-receiver',
        '--log.level=warn',
      ],
      { stdio: 'ignore' },
    );
    const prometheus = new TestPrometheus(`http://127.0.0.1:${port}`, folder, child);
    await eventually('Prometheus is ready', async () => (await fetch(`${prometheus.url}/-/ready`)).ok);
    return prometheus;
  }

  /** The values of an instant query, by their labels. */
  async query(expression: string): Promise<{ metric: Record<string, string>; value: number }[]> {
    const answer = await fetch(`${this.url}/api/v1/query?query=${encodeURIComponent(expression)}`);
    const body = (await answer.json()) as {
      status: string;
      error?: string;
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    };
    if (body.status !== 'success') throw new Error(`Prometheus refuses ${expression}: ${body.error}`);
    return body.data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  async json<T>(path: string): Promise<T> {
    return (await (await fetch(`${this.url}${path}`)).json()) as T;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
    await rm(this.#folder, { recursive: true, force: true });
  }
}
