import { pino } from 'pino';
import { currentRequest, ownWork } from './request-scope.ts';

/** One line of JSON each: constant lower-case message, facts as fields with the wire spelling. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error'> & { child(bindings: object): Log };

export interface LogOptions {
  component: string;
  level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}

const components = new WeakMap<object, string>();

/** The component that a log was made for. */
export function componentOf(log: Log): string {
  return components.get(log) ?? 'ingot';
}

/** Logs to standard output. Whatever is named like a secret is written as `[redacted]`. */
export function createLog(options: LogOptions): Log {
  // What is neither a request's nor a turn's of its own work: the start, the end, what a socket says in between.
  const life = ownWork();
  const log = pino({
    level: options.level,
    base: { component: options.component, pid: process.pid },
    // Every line of a request's work can be found by its id; the field of that name in the line itself is more exact.
    mixin: () => ({ request_id: (currentRequest() ?? life).request_id }),
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: ['password', '*.password', 'authorization', '*.authorization', 'token', '*.token', 'secret', '*.secret'],
      censor: '[redacted]',
    },
  });
  components.set(log, options.component);
  return log;
}

export const silentLog: Log = pino({ level: 'silent' });
