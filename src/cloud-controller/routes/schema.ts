import { z } from 'zod';
import { relationships, ToMany, ToOne } from '../api/body.ts';
import type { ListSpec } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';

const Host = z.string().superRefine((host, context) => {
  const fault = (message: string): void => context.addIssue({ code: 'custom', message });
  if (host.length > 63) fault('Host is too long (maximum is 63 characters)');
  if (host !== '' && !/^([\w-]+|\*)$/.test(host)) {
    fault('Host must be either "*" or contain only alphanumeric characters, "_", or "-"');
  }
});
const Path = z.string().superRefine((path, context) => {
  const fault = (message: string): void => context.addIssue({ code: 'custom', message });
  if (path === '') return;
  if (path.length > 128) fault('Path is too long (maximum is 128 characters)');
  if (!path.startsWith('/')) fault('Path must begin with /');
  if (path === '/') fault("Path cannot be exactly '/'");
  if (path.includes('?')) fault("Path cannot contain '?'");
  // RFC 2396's characters of a path, percent escapes included.
  if (!/^([\w\-.!~*'():@&=+$,;/?]|%[\da-f]{2})*$/i.test(path)) fault('Path is invalid');
});

const LOADBALANCING = ['round-robin', 'least-connection', 'hash'] as const;
/** null takes an option away. */
export const RouteOptionsUpdate = z.strictObject(
  {
    loadbalancing: z
      .enum(LOADBALANCING, {
        error: "Options Loadbalancing must be one of 'round-robin, least-connection, hash' if present",
      })
      .nullable()
      .optional(),
    hash_header: z.string().min(1).max(128).nullable().optional(),
    hash_balance: z
      .union([z.string(), z.number()])
      .transform(String)
      .refine((text) => /^\d+(\.\d+)?$/.test(text), { error: 'Options Hash balance must be a numeric value' })
      .nullable()
      .optional(),
  },
  { error: (issue) => (issue.code === 'unrecognized_keys' ? undefined : "Options 'options' is not a valid object") },
);
export type RouteOptionsUpdate = z.infer<typeof RouteOptionsUpdate>;

export const CreateRoute = z.strictObject({
  host: Host.nullable().optional(),
  path: Path.nullable().optional(),
  port: z.number().int().min(1).max(65535).nullable().optional(),
  options: RouteOptionsUpdate.optional(),
  relationships: relationships({ space: ToOne('Space'), domain: ToOne('Domain') }),
  metadata: MetadataUpdate.optional(),
});
export type CreateRoute = z.infer<typeof CreateRoute>;

export const UpdateRoute = z.strictObject({
  options: RouteOptionsUpdate.optional(),
  metadata: MetadataUpdate.optional(),
});

const Destination = z.strictObject({
  app: z.strictObject({
    guid: z.string().min(1),
    process: z.strictObject({ type: z.string().min(1).max(255) }).optional(),
  }),
  weight: z.number().int().min(1).max(100).nullable().optional(),
  port: z.number().int().min(1024).max(65535).nullable().optional(),
  protocol: z
    .enum(['http1', 'http2', 'tcp'], { error: "Destinations[0]: protocol must be 'http1', 'http2' or 'tcp'." })
    .nullable()
    .optional(),
});
export type NewDestination = z.infer<typeof Destination>;

export const InsertDestinations = z.strictObject({
  destinations: z
    .array(
      Destination.refine((destination) => destination.weight == null, {
        error: 'Destinations cannot contain weight when inserting; replace all destinations instead.',
      }),
    )
    .min(1, { error: 'Destinations must have at least one item' })
    .max(100),
});
export const ReplaceDestinations = z.strictObject({ destinations: z.array(Destination).max(100) });
export const UpdateDestination = z.strictObject({ protocol: z.enum(['http1', 'http2', 'tcp']).nullable() });

export const ShareRoute = ToMany;
export const MoveRoute = ToOne('Space');

export const ROUTE_LIST: ListSpec = {
  filters: [
    'app_guids',
    'domain_guids',
    'hosts',
    'organization_guids',
    'paths',
    'ports',
    'space_guids',
    'service_instance_guids',
  ],
  labels: true,
  include: ['domain', 'space', 'space.organization', 'route_policies'],
};
