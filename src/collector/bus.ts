import type { Bus } from '#bus/bus.ts';
import { componentAnnounce, componentDiscover } from '#contracts/collector.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Registry } from './registry.ts';

const ANSWER_TIME_MS = 1_000;

/** Hears components that make themselves known. */
export function hearComponents(bus: Bus, registry: Registry, clock: Clock): Disposable {
  return bus.subscribe(componentAnnounce, (announcement) => registry.hear(announcement, clock.monotonic()));
}

/** Asks all components to make themselves known. */
export async function discover(
  bus: Bus,
  registry: Registry,
  { clock, log }: { clock: Clock; log: Log },
): Promise<void> {
  try {
    const answers = await bus.gather(componentDiscover, {}, { timeout_ms: ANSWER_TIME_MS });
    for (const announcement of answers) registry.hear(announcement, clock.monotonic());
  } catch (error) {
    log.debug({ error: describeError(error) }, 'components not asked');
  }
}

/** Seconds that the message bus takes to answer; NaN while it is away. */
export async function pingBus(bus: Bus, clock: Clock): Promise<number> {
  if (!bus.isConnected) return NaN;
  const begin = clock.monotonic();
  try {
    await bus.flush();
  } catch {
    return NaN;
  }
  return (clock.monotonic() - begin) / 1000;
}
