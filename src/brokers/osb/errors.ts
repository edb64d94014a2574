import { AppError } from '#kernel/errors.ts';

/** What the Open Service Broker API names in the field `error` of a 422. */
export type OsbErrorName = 'AsyncRequired' | 'ConcurrencyError';

/** An answer that is no success, with the status that the specification (2.17) gives it; the message is for the user. */
export class OsbError extends AppError {
  readonly status: number;
  readonly osb_error: OsbErrorName | undefined;

  constructor(status: number, message: string, options?: ErrorOptions & { osb_error?: OsbErrorName }) {
    super(`osb_${status}`, message, options);
    this.status = status;
    this.osb_error = options?.osb_error;
  }
}

export const badRequest = (message: string): OsbError => new OsbError(400, message);
export const notThere = (what: string): OsbError => new OsbError(404, `${what} is not there`);
export const gone = (): OsbError => new OsbError(410, 'it is gone');
export const conflict = (what: string): OsbError =>
  new OsbError(409, `${what} is there already, and is not what is asked for`);
export const busy = (): OsbError =>
  new OsbError(422, 'another operation is under way', { osb_error: 'ConcurrencyError' });
export const asyncRequired = (): OsbError =>
  new OsbError(422, 'this takes a while: ask with accepts_incomplete=true', { osb_error: 'AsyncRequired' });
