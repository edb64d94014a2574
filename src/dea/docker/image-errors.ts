import { AppError } from '#kernel/errors.ts';

/** The image's name, manifest or config is not one that we can run. */
export class ImageInvalid extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('image_invalid', message, options);
  }
}

/** The registry has no such image, or does not say so to whom it does not know. */
export class ImageNotFound extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('image_not_found', message, options);
  }
}

/** The registry wants a user name and password, or others than those given. */
export class RegistryDenied extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('registry_denied', message, options);
  }
}

/** The registry is away or fails. */
export class RegistryFailed extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('registry_failed', message, options);
  }
}

/** It leads where cells do not ask on behalf of others. */
export class RegistryForbidden extends AppError {
  constructor(address: string, options?: ErrorOptions) {
    super('registry_forbidden', `the registry leads to ${address}, where the cells ask nobody`, options);
  }
}
