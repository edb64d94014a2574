import { z } from 'zod';
import { Name, relationships, ToOne } from '../api/body.ts';
import { type FieldSpec, fieldParameters } from '../api/fields.ts';
import type { ListSpec } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';

const MAX_TAGS_LENGTH = 2048;
const MAX_URL_LENGTH = 10_000;

const Tags = z
  .array(z.string())
  .nullable()
  .refine((tags) => (tags ?? []).join('').length <= MAX_TAGS_LENGTH, {
    error: `Tags combined length must be ${MAX_TAGS_LENGTH} characters or less`,
  });
const JsonObject = z.record(z.string(), z.unknown());
const isUrl = (text: string, protocol: RegExp): boolean => URL.canParse(text) && protocol.test(new URL(text).protocol);
const DrainUrl = z
  .string()
  .max(MAX_URL_LENGTH)
  .refine((text) => text === '' || isUrl(text, /./), { error: 'Syslog drain url must be a valid URI' })
  .nullable();
const RouteServiceUrl = z
  .string()
  .max(MAX_URL_LENGTH)
  .refine((text) => text === '' || isUrl(text, /^https:$/), { error: 'Route service url must be https' })
  .nullable();

/** Read first, to know which of the two it is. */
export const InstanceKind = z.looseObject({ type: z.enum(['managed', 'user-provided']) });

const PROVIDED = {
  tags: Tags.optional(),
  credentials: JsonObject.nullable().optional(),
  syslog_drain_url: DrainUrl.optional(),
  route_service_url: RouteServiceUrl.optional(),
  metadata: MetadataUpdate.optional(),
};
export const CreateUserProvided = z.strictObject({
  type: z.literal('user-provided'),
  name: Name,
  ...PROVIDED,
  relationships: relationships({ space: ToOne('Space') }),
});
export type CreateUserProvided = z.infer<typeof CreateUserProvided>;
export const UpdateUserProvided = z.strictObject({ name: Name.optional(), ...PROVIDED });

const MANAGED = {
  tags: Tags.optional(),
  parameters: JsonObject.nullable().optional(),
  metadata: MetadataUpdate.optional(),
};
const ServicePlan = ToOne('Service plan');
export const CreateManaged = z.strictObject({
  type: z.literal('managed'),
  name: Name,
  ...MANAGED,
  relationships: relationships({ space: ToOne('Space'), service_plan: ServicePlan }),
});
export type CreateManaged = z.infer<typeof CreateManaged>;
export const SEMVER =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[\da-zA-Z-]+(\.[\da-zA-Z-]+)*)?(\+[\da-zA-Z-]+(\.[\da-zA-Z-]+)*)?$/;
export const UpdateManaged = z.strictObject({
  name: Name.optional(),
  ...MANAGED,
  relationships: z.strictObject({ service_plan: ServicePlan.optional() }).optional(),
  maintenance_info: z
    .strictObject({
      version: z.string().regex(SEMVER, { error: 'maintenance_info.version should be a semantic version.' }),
    })
    .optional(),
});
export type UpdateManaged = z.infer<typeof UpdateManaged>;

/** What describes both kinds, for the API's document. */
export const CreateServiceInstance = z.union([CreateUserProvided, CreateManaged]);
export const UpdateServiceInstance = z.union([UpdateUserProvided, UpdateManaged]);

export const INSTANCE_FIELDS: FieldSpec = {
  space: ['guid', 'name', 'relationships.organization'],
  'space.organization': ['guid', 'name'],
  service_plan: ['guid', 'name', 'relationships.service_offering'],
  'service_plan.service_offering': [
    'guid',
    'name',
    'description',
    'documentation_url',
    'tags',
    'relationships.service_broker',
  ],
  'service_plan.service_offering.service_broker': ['guid', 'name'],
};
export const INSTANCE_LIST: ListSpec = {
  filters: ['names', 'guids', 'organization_guids', 'space_guids', 'service_plan_guids', 'service_plan_names'],
  plain: ['type', ...fieldParameters(INSTANCE_FIELDS)],
  order: ['name'],
  labels: true,
};
