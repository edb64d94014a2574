import type { Log } from '#kernel/log.ts';

/** How many messages of each level were logged, for `/varz`. */
export type LogCounts = Record<'info' | 'warn' | 'error', number>;

/** A log that counts what goes through it. */
export function countedLog(log: Log, counts: LogCounts): Log {
  const counting =
    (level: keyof LogCounts): Log['info'] =>
    (...message: Parameters<Log['info']>) => {
      counts[level]++;
      log[level](...message);
    };
  return {
    debug: log.debug.bind(log),
    info: counting('info'),
    warn: counting('warn'),
    error: counting('error'),
    child: (bindings) => countedLog(log.child(bindings), counts),
  };
}
