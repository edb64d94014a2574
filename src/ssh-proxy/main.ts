/**
 * The SSH proxy: `cf ssh` comes here. It logs users in with one-time codes of the UAA, asks the cloud controller whether they may, and
 * leads each channel over the DEA into the container of the instance.
 */
import { Gauge } from 'prom-client';
import { announceComponent } from '#bus/announce.ts';
import { Bus } from '#bus/bus.ts';
import { LogEmitter } from '#bus/log-emitter.ts';
import { StatusServer } from '#http/status-server.ts';
import type { ComponentContext, RunningComponent } from '#kernel/component.ts';
import type { SshProxyConfig } from './config.ts';
import { SshProxy } from './proxy.ts';

export async function start(config: SshProxyConfig, { log }: ComponentContext): Promise<RunningComponent> {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await Bus.connect({ servers: config.nats_servers, name: 'ssh-proxy', log }));
  const tags = { origin: 'ssh-proxy', deployment: 'ingot', job: 'ssh-proxy', index: String(config.index) };
  const emitter = stack.use(new LogEmitter({ publisher: bus, tags }));
  const proxy = stack.use(await SshProxy.start({ config, bus, emitter, log }));
  const addresses: Record<string, string> = { ssh: proxy.address };
  if (config.status) {
    const { host, port, user, password } = config.status;
    const status = stack.use(await StatusServer.start({ host, port, credentials: { user, password } }));
    count(status, proxy);
    addresses['status'] = status.address;
    const { index, version } = config;
    const announced = { host: status.address, credentials: status.credentials };
    stack.use(announceComponent({ bus, type: 'SSHProxy', index, version, ...announced }));
  }
  log.info({ address: proxy.address }, 'ssh proxy listens');
  const owned = stack.move();
  return { addresses, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

function count({ registry }: StatusServer, proxy: SshProxy): void {
  const figures: [string, string, () => number][] = [
    ['ssh_proxy_connections', 'Connections of users', () => proxy.counts.connections],
    ['ssh_proxy_admitted', 'Log-ins that succeeded since the start', () => proxy.counts.admitted],
    ['ssh_proxy_refused', 'Log-ins that failed since the start', () => proxy.counts.refused],
  ];
  for (const [name, help, read] of figures) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  }
}
