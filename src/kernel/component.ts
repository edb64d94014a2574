import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

/** What every component's `main.ts` is given besides its own configuration. */
export interface ComponentContext {
  log: Log;
  clock: Clock;
}

/**
 * What `start(config, context)` of every `main.ts` resolves with once the component serves. Disposing of it stops taking
 * work, awaits what is under way, and leaves no handle behind.
 */
export interface RunningComponent extends AsyncDisposable {
  /** Where it listens, for the platform to print and probe; empty for one that only speaks NATS. */
  readonly addresses: Readonly<Record<string, string>>;
}
