import { AppError } from '#kernel/errors.ts';

/**
 * The words that UAA puts in `error`, and the HTTP status that goes with each. Source: the reference's section 4.3; RFC 6749
 * section 5.2 for those of the token endpoint, RFC 6750 section 3.1 for those of bearer tokens.
 */
export const UAA_ERRORS = {
  access_denied: 403,
  insufficient_scope: 403,
  interaction_required: 400,
  invalid_client: 401,
  invalid_grant: 400,
  invalid_password: 422,
  invalid_redirect: 400,
  invalid_request: 400,
  invalid_scim_resource: 400,
  invalid_scope: 400,
  invalid_token: 401,
  login_required: 400,
  not_found: 404,
  payload_too_large: 413,
  scim: 400,
  scim_resource_already_exists: 409,
  scim_resource_not_found: 404,
  scim_version_mismatch: 412,
  server_error: 500,
  temporarily_unavailable: 503,
  unauthorized: 401,
  unauthorized_client: 400,
  unsupported_grant_type: 400,
  unsupported_media_type: 415,
  unsupported_response_type: 400,
} as const;
export type UaaErrorName = keyof typeof UAA_ERRORS;

/** An answer in UAA's error form: `{"error": name, "error_description": message}`. */
export class UaaError extends AppError {
  override readonly code: UaaErrorName;

  constructor(name: UaaErrorName, message: string, options?: ErrorOptions) {
    super(name, message, options);
    this.code = name;
  }
}

/** The one answer to every sign-in that fails, so that it tells nobody whether the account exists. */
export const badCredentials = (options?: ErrorOptions): UaaError =>
  new UaaError('unauthorized', 'Bad credentials', options);

/** The text is compared by the cf CLI. */
export const accountLocked = (): UaaError =>
  new UaaError('unauthorized', 'Your account has been locked because of too many failed attempts to login.');
