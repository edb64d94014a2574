import { pino } from 'pino';

/** One line of JSON each: constant lower-case message, facts as fields with the wire spelling. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error'> & { child(bindings: object): Log };

export interface LogOptions {
  component: string;
  level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}

/** Logs to standard output. Whatever is named like a secret is written as `[redacted]`. */
export function createLog(options: LogOptions): Log {
  return pino({
    level: options.level,
    base: { component: options.component, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: ['password', '*.password', 'authorization', '*.authorization', 'token', '*.token', 'secret', '*.secret'],
      censor: '[redacted]',
    },
  });
}

export const silentLog: Log = pino({ level: 'silent' });
