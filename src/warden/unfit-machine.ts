import { AppError } from '#kernel/errors.ts';

/** What this machine lacks; the message says what to do. */
export class UnfitMachine extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('unfit_machine', message, options);
  }
}
