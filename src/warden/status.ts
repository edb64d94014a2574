import { Gauge } from 'prom-client';
import { announceComponent } from '#bus/announce.ts';
import { Bus } from '#bus/bus.ts';
import { StatusServer } from '#http/status-server.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Backend } from './backend.ts';
import type { WardenConfig } from './config.ts';

/**
 * What the collector reads of warden, and the announcement that brings it here. Containers need no bus: with it away warden serves
 * all the same, and announces itself when it is there.
 */
export async function serveStatus(options: {
  reports: NonNullable<WardenConfig['reports']>;
  backend: Backend;
  log: Log;
}): Promise<{ address: string } & AsyncDisposable> {
  const { reports, backend, log } = options;
  const { index, version, status: at, nats_servers } = reports;
  await using stack = new AsyncDisposableStack();
  const status = stack.use(await StatusServer.start(at));
  new Gauge({
    name: 'warden_containers',
    help: 'Containers on this machine, stopped ones too',
    registers: [status.registry],
    collect() {
      this.set(backend.list().length);
    },
  });
  let isOver = false;
  const announced = new AsyncDisposableStack();
  stack.defer(async () => {
    isOver = true;
    await announced.disposeAsync();
  });
  void (async () => {
    try {
      const bus = await Bus.connect({ servers: nats_servers, name: `warden-${index}`, log });
      if (isOver) return await bus[Symbol.asyncDispose]();
      announced.use(bus);
      const { address: host, credentials } = status;
      announced.use(announceComponent({ bus, type: 'Warden', index, version, host, credentials }));
    } catch (error) {
      log.error({ error: describeError(error) }, 'not announced to the collector');
    }
  })();
  const owned = stack.move();
  return { address: status.address, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}
