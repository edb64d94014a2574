/** All the doors that traffic comes in by, and how they are closed without a request lost. */
import type { Clock } from '#kernel/clock.ts';
import { Certificates } from './certificates.ts';
import type { Core } from './core.ts';
import { HttpListener } from './http.ts';
import { HttpsListener } from './https.ts';
import type { TcpRoutes } from './tcp.ts';

type Door = HttpListener | HttpsListener | TcpRoutes;

export class Entrance implements AsyncDisposable {
  readonly addresses: Readonly<Record<string, string>>;
  readonly #core: Core;
  readonly #clock: Clock;
  readonly #doors: readonly Door[];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    core: Core,
    clock: Clock,
    parts: { doors: readonly Door[]; stack: AsyncDisposableStack; addresses: Record<string, string> },
  ) {
    this.#core = core;
    this.#clock = clock;
    this.#doors = parts.doors;
    this.#stack = parts.stack;
    this.addresses = parts.addresses;
  }

  /** Errors: AppError `listen_failed`, `certificate_invalid`. */
  static async open(core: Core, clock: Clock, tcpRoutes: TcpRoutes): Promise<Entrance> {
    const { config, log } = core;
    await using stack = new AsyncDisposableStack();
    const http = stack.use(await HttpListener.start(core, config));
    const doors: Door[] = [tcpRoutes, http];
    const addresses: Record<string, string> = { http: `${config.host}:${http.port}` };
    if (config.tls !== undefined) {
      const certificates = stack.use(await Certificates.load(config.tls, { log, clock }));
      const https = stack.use(await HttpsListener.start(core, config.tls, certificates));
      doors.push(https);
      addresses['https'] = `${config.host}:${https.port}`;
    }
    return new Entrance(core, clock, { doors, stack: stack.move(), addresses });
  }

  get connections(): number {
    return this.#doors.reduce((sum, door) => sum + door.connections, 0);
  }

  /** First health alone says no, so that load balancers turn away; then no new connection is taken, and those under way finish. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { drain } = this.#core.config;
    this.#core.isHealthy = false;
    await this.#clock.sleep(drain.wait_s * 1000);
    this.#core.isDraining = true;
    for (const door of this.#doors) door.stopAccepting();
    const end_ms = this.#clock.monotonic() + drain.timeout_s * 1000;
    while (this.connections > 0 && this.#clock.monotonic() < end_ms) await this.#clock.sleep(20);
    await this.#stack.disposeAsync();
  }
}
