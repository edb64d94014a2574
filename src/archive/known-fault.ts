import { AppError } from '#kernel/errors.ts';

/** Whether an error already says what is wrong, so that no reader has to guess at it again. */
export function isKnownFault(error: unknown): boolean {
  return error instanceof AppError;
}
