import { z } from 'zod';
import { BrokerTrouble } from './trouble.ts';

/** What came back over HTTP. */
export interface BrokerReply {
  status: number;
  text: string;
  /** Seconds, from Retry-After. */
  retry_after_s: number | undefined;
}

const MAX_OPERATION = 10_000;
const MAX_TEXT = 8_192;

const JsonObject = z.record(z.string(), z.unknown());
const OrNone = <Schema extends z.ZodType>(schema: Schema) => schema.nullish().transform((value) => value ?? undefined);

const Metadata = OrNone(z.object({ labels: OrNone(JsonObject), attributes: OrNone(JsonObject) }));
const Operation = OrNone(z.string().max(MAX_OPERATION));

export const ProvisionBody = z.object({ dashboard_url: OrNone(z.string()), operation: Operation, metadata: Metadata });
export type ProvisionBody = z.infer<typeof ProvisionBody>;
export const BindBody = z.object({
  credentials: OrNone(JsonObject),
  syslog_drain_url: OrNone(z.string()),
  route_service_url: OrNone(z.string()),
  volume_mounts: OrNone(z.array(z.record(z.string(), z.unknown()))),
  operation: Operation,
  parameters: OrNone(JsonObject),
});
export type BindBody = z.infer<typeof BindBody>;
export const DeleteBody = z.object({ operation: Operation });
export const InstanceBody = z.object({ parameters: OrNone(JsonObject) });

/** Done at once, or begun: to be asked for by `last_operation`. */
export type Answer<Body> = { state: 'succeeded' | 'in progress'; body: Body };

export interface Reading<Schema extends z.ZodType> {
  /** The statuses that say that it is done. */
  done: readonly number[];
  body: Schema;
  /** For deletions: what is not there is deleted, whatever else is said. */
  isDeletion?: boolean;
}

/** What a mutation's reply means. Errors: BrokerTrouble. Source: OSB 2.17, the tables of response codes. */
export function readMutation<Schema extends z.ZodType>(
  reply: BrokerReply,
  reading: Reading<Schema>,
): Answer<z.output<Schema>> {
  const { status } = reply;
  if (reading.isDeletion === true && (status === 410 || status === 200)) {
    return { state: 'succeeded', body: reading.body.parse({}) };
  }
  if (reading.done.includes(status)) return { state: 'succeeded', body: readBody(reply, reading.body) };
  if (status === 202) return { state: 'in progress', body: readBody(reply, reading.body) };
  throw troubleOf(reply);
}

/** What a GET's reply means. Errors: BrokerTrouble. */
export function readFetched<Schema extends z.ZodType>(reply: BrokerReply, schema: Schema): z.output<Schema> {
  if (reply.status !== 200) throw troubleOf(reply);
  return readBody(reply, schema);
}

export type LastOperation =
  | { state: 'in progress' | 'succeeded'; description: string; retry_after_s: number | undefined }
  | { state: 'failed'; description: string }
  | { state: 'gone' }
  /** Nothing that tells; it is asked again. */
  | { state: 'unknown'; retry_after_s: number | undefined };

const LastOperationBody = z.object({
  state: z.enum(['in progress', 'succeeded', 'failed']),
  description: z.string().nullish(),
});

/** Only a clear word ends the polling: 400 is a failure, 410 says gone, everything else that is no answer is asked again. */
export function readLastOperation(reply: BrokerReply): LastOperation {
  const { status, retry_after_s } = reply;
  if (status === 410) return { state: 'gone' };
  if (status === 400) return { state: 'failed', description: describe(reply) };
  const parsed = status === 200 ? LastOperationBody.safeParse(parseJson(reply.text)) : undefined;
  if (parsed?.success !== true) return { state: 'unknown', retry_after_s };
  const { state } = parsed.data;
  const description = parsed.data.description ?? '';
  return state === 'failed' ? { state, description } : { state, description, retry_after_s };
}

function readBody<Schema extends z.ZodType>(reply: BrokerReply, schema: Schema): z.output<Schema> {
  const parsed = schema.safeParse(parseJson(reply.text));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  // The body itself may hold credentials, and is not told.
  const what = where === '' ? 'expected valid JSON object in body' : `${where}: ${issue?.message ?? 'is invalid'}`;
  throw new BrokerTrouble(
    reply.status === 200 ? 'malformed_ok' : 'malformed_accepted',
    `The service broker returned an invalid response: ${what}`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const ErrorBody = z.object({ error: z.string().nullish(), description: z.string().nullish() });

/** Errors of 422 that have a name of their own. */
const NAMED = new Map([
  [
    'AsyncRequired',
    ['async_required', 'This service plan requires client support for asynchronous service operations.'],
  ],
  [
    'ConcurrencyError',
    ['concurrency', 'The service broker could not perform this operation in parallel with other running operations'],
  ],
  [
    'MaintenanceInfoConflict',
    [
      'maintenance_conflict',
      'The service broker did not provide a reason for this conflict, please ensure the catalog is up to date and you are providing a version supported by this service plan',
    ],
  ],
  [
    'RequiresApp',
    ['app_required', 'This service supports generation of credentials through binding an application only.'],
  ],
] as const);

function troubleOf(reply: BrokerReply): BrokerTrouble {
  const { status } = reply;
  const message = describe(reply);
  if (status >= 200 && status < 300) return new BrokerTrouble('unexpected_success', message);
  if (status >= 500) return new BrokerTrouble('server_error', message);
  switch (status) {
    case 401:
      return new BrokerTrouble(
        'unauthorized',
        'Authentication with the service broker failed. Double-check that the username and password are correct.',
      );
    case 408:
      return new BrokerTrouble('request_timeout', message);
    case 409:
      return new BrokerTrouble('conflict', descriptionIn(reply) === undefined ? 'Resource conflict' : message);
    case 410:
      return new BrokerTrouble('gone', message);
    case 422: {
      const error = ErrorBody.safeParse(parseJson(reply.text)).data?.error;
      const [trouble, text] = NAMED.get(error as 'AsyncRequired') ?? [];
      if (trouble === undefined) return new BrokerTrouble('rejected', message);
      const isTold = trouble === 'maintenance_conflict' && descriptionIn(reply) !== undefined;
      return new BrokerTrouble(trouble, isTold ? message : (text ?? message));
    }
    default:
      return new BrokerTrouble('rejected', message);
  }
}

function descriptionIn(reply: BrokerReply): string | undefined {
  const description = ErrorBody.safeParse(parseJson(reply.text)).data?.description;
  return description === undefined || description === null || description.trim() === '' ? undefined : description;
}

/** The broker's own words where there are such. */
function describe(reply: BrokerReply): string {
  const description = descriptionIn(reply);
  if (description !== undefined) return cut(`Service broker error: ${description}`);
  // Of a success the body may hold credentials, and is not told.
  const body = reply.status < 300 ? '' : `, Body: ${reply.text}`;
  return cut(`The service broker returned an invalid response. Status Code: ${reply.status}${body}`);
}

function cut(text: string): string {
  const clean = text.replaceAll('\0', '').toWellFormed();
  return clean.length <= MAX_TEXT
    ? clean
    : `${clean.slice(0, MAX_TEXT)}...This message has been truncated due to size.`;
}
