import { UaaError } from '../errors.ts';

/** The provider refused, cannot be reached, or said something that does not hold. */
export class ProviderFailed extends UaaError {
  constructor(origin: string, options?: ErrorOptions) {
    super('invalid_request', `The identity provider ${origin} did not sign you in`, options);
  }
}
