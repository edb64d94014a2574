/**
 * The root of every error that a caller may branch on: a stable code for programs, a sentence for people, and
 * the cause underneath. It knows no transport; `http/` turns it into Cloud Foundry's or UAA's wire form.
 */
export class AppError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** What a person would want to read of anything thrown: the message, then each cause's, joined by `: `. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  let current: unknown = error;
  while (current !== undefined && parts.length < 8) {
    parts.push(messageOf(current));
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(': ');
}

function messageOf(thrown: unknown): string {
  // Node gives a refused connection to several addresses as an AggregateError with an empty message.
  if (thrown instanceof AggregateError && thrown.message === '') return thrown.errors.map(messageOf).join(', ');
  if (thrown instanceof Error) return thrown.message === '' ? thrown.name : thrown.message;
  return String(thrown);
}

/** The `code` of a Node system error (`ENOENT`, `ECONNREFUSED`…), or undefined. */
export function systemErrorCode(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}
