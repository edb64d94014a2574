import { z } from 'zod';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';

/**
 * Checks a request's body against its schema. Each fault becomes one error item in the API's wording: `Name must be a string`,
 * `Unknown field(s): 'x'`. A message given in the schema is taken as it is.
 * Errors: 422 CF-UnprocessableEntity with one item per fault; 400 CF-MessageParseError when there is no object at all.
 */
export function parseBody<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const given = body === undefined || body === null ? {} : body;
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw new CfError('MessageParseError', 'Request invalid due to parse error: invalid request body');
  }
  const result = schema.safeParse(given, { error: (issue) => textOf(issue) });
  if (result.success) return result.data;
  throw unprocessable([...new Set(result.error.issues.map((issue) => issue.message))]);
}

type RawIssue = Parameters<z.core.$ZodErrorMap>[0];

function textOf(issue: RawIssue): string {
  const path = (issue.path ?? []).filter((part): part is string => typeof part === 'string');
  if (issue.code === 'unrecognized_keys') {
    const fields = issue.keys.map((key) => `'${key}'`).join(', ');
    return `${prefix(path)}Unknown field(s): ${fields}`;
  }
  return `${labelOf(path)} ${faultOf(issue)}`;
}

/** `relationships.space` reads `Relationships space`; `memory_in_mb` reads `Memory in mb`. */
function labelOf(path: readonly string[]): string {
  const words = path.map((part) => part.replaceAll('_', ' ')).join(' ');
  return words === '' ? 'The request body' : words[0]?.toUpperCase() + words.slice(1);
}

function prefix(path: readonly string[]): string {
  return path.length === 0 ? '' : `${labelOf(path)} `;
}

function faultOf(issue: RawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return "can't be blank";
      return issue.expected === 'number' || issue.expected === 'int'
        ? 'is not a number'
        : `must be ${article(issue.expected)}`;
    case 'too_small':
      if (issue.origin === 'string') {
        return Number(issue.minimum) === 1 ? "can't be blank" : `is too short (minimum is ${issue.minimum} characters)`;
      }
      if (issue.origin === 'array') return `must have at least ${issue.minimum} item(s)`;
      return issue.inclusive === false
        ? `must be greater than ${issue.minimum}`
        : `must be greater than or equal to ${issue.minimum}`;
    case 'too_big':
      if (issue.origin === 'string') return `is too long (maximum is ${issue.maximum} characters)`;
      if (issue.origin === 'array') return `must have at most ${issue.maximum} item(s)`;
      return `must be less than or equal to ${issue.maximum}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map((value) => `'${String(value)}'`).join(', ')}`;
    default:
      return 'is invalid';
  }
}

function article(type: string): string {
  const name = type === 'record' ? 'object' : type;
  return /^[aeiou]/.test(name) ? `an ${name}` : `a ${name}`;
}

/** A resource's name: 1 to 255 characters that print. */
export const Name = z
  .string()
  .min(1)
  .max(255)
  .refine((name) => !/[\p{Cc}\u2028\u2029]/u.test(name), { error: 'Name contains invalid characters' })
  .refine((name) => name.trim() !== '', { error: "Name can't be blank" });

const Guid = z.strictObject({ guid: z.string().min(1).max(255) });

/** `{ data: { guid } }`, as in `relationships.space`. `label` begins the error's text: `Space`. */
export function ToOne(label: string): z.ZodType<{ data: { guid: string } }> {
  const field = label.toLowerCase();
  return z.strictObject(
    { data: Guid },
    {
      error: `Relationships ${label} must be structured like this: "${field}: {"data": {"guid": "valid-guid"}}"`,
    },
  );
}

/** `{ data: { guid } }` or `{ data: null }`. */
export function ToOneOrNone(label: string): z.ZodType<{ data: { guid: string } | null }> {
  const field = label.toLowerCase();
  return z.strictObject(
    { data: Guid.nullable() },
    {
      error: `Relationships ${label} must be structured like this: "${field}: {"data": {"guid": "valid-guid"}}"`,
    },
  );
}

/** `{ data: [{ guid }] }`. */
export const ToMany = z.strictObject({ data: z.array(Guid).max(5000) });

/** A missing `relationships` is an empty one, so that each relationship it must have is named in the errors. */
export function relationships<Shape extends z.ZodRawShape>(
  shape: Shape,
): z.ZodPrefault<z.ZodObject<Shape, z.core.$strict>> {
  return z.strictObject(shape, { error: 'Relationships must be an object' }).prefault({} as never);
}
