import { AppError } from '#kernel/errors.ts';

/** What stops a command; its message is all that the user is shown, after FAILED. */
export class CommandError extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('command_failed', message, options);
  }
}

/** The platform gave no answer at all. */
export class ApiUnreachable extends CommandError {}

/** An answer of the cloud controller or UAA that is not a success. */
export class ApiError extends AppError {
  readonly status: number;
  /** Cloud Foundry's title (`CF-ResourceNotFound`) or UAA's error (`invalid_token`). */
  readonly title: string;
  readonly details: readonly string[];

  constructor(answer: { status: number; title: string; details: readonly string[] }) {
    super('api_error', answer.details.join('\n'));
    this.status = answer.status;
    this.title = answer.title;
    this.details = answer.details;
  }
}

export const notLoggedIn = (): CommandError =>
  new CommandError("Not logged in. Use 'cf login' or 'cf login --sso' to log in.");
export const noApi = (): CommandError =>
  new CommandError("No API endpoint set. Use 'cf login' or 'cf api' to target an endpoint.");
export const notFoundError = (kind: string, name: string): CommandError =>
  new CommandError(`${kind} '${name}' not found.`);
