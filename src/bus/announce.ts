import { randomUUID } from 'node:crypto';
import { componentAnnounce, componentDiscover, type ComponentAnnouncement } from '#contracts/collector.ts';
import type { Bus } from './bus.ts';

export interface AnnounceOptions {
  bus: Bus;
  type: string;
  index: number;
  version: string;
  /** `ip:port` of the status server and who may read it. */
  host: string;
  credentials: { user: string; password: string };
}

/** Makes a component known to the collector: says so now and after each reconnect, and answers when asked. */
export function announceComponent(options: AnnounceOptions): Disposable {
  const { bus } = options;
  const uuid = `${options.index}-${randomUUID()}`;
  const startedAt = new Date();
  const announcement = (): ComponentAnnouncement => ({
    type: options.type,
    index: options.index,
    host: options.host,
    credentials: [options.credentials.user, options.credentials.password],
    uuid,
    start: startedAt.toISOString(),
    uptime: uptimeText((Date.now() - startedAt.getTime()) / 1000),
    version: options.version,
    pid: process.pid,
  });
  const announce = (): void => void bus.publish(componentAnnounce, announcement());
  const stack = new DisposableStack();
  stack.use(bus.reply(componentDiscover, announcement));
  stack.use(bus.onReconnect(announce));
  announce();
  return stack;
}

/** `days:hours:minutes:seconds` as Cloud Foundry's components write it: `0d:0h:12m:5s`. */
export function uptimeText(seconds: number): string {
  const whole = Math.floor(seconds);
  const days = Math.floor(whole / 86_400);
  return `${days}d:${Math.floor((whole % 86_400) / 3600)}h:${Math.floor((whole % 3600) / 60)}m:${whole % 60}s`;
}
