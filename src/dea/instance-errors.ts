import { AppError } from '#kernel/errors.ts';

export class MissingStartCommand extends AppError {
  constructor() {
    super('missing_start_command', 'missing start command');
  }
}

export class DeaRestarted extends AppError {
  constructor() {
    super('dea_restarted', 'the cell was restarted while the instance started');
  }
}

/** Our own errors are fit for the app's log; what else went wrong stays in ours. */
export function sayable(error: unknown): string {
  return error instanceof AppError ? error.message : 'internal error';
}

/** The exit's description of an instance that never ran, in the DEA's words. */
export function describeFailedStart(error: unknown): string {
  return error instanceof MissingStartCommand ? error.message : 'failed to start';
}
