import { Bus } from '#bus/bus.ts';
import { systemClock } from '#kernel/clock.ts';
import type { RunningComponent } from '#kernel/component.ts';
import { silentLog } from '#kernel/log.ts';
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
