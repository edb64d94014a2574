import { z } from 'zod';
import { relationships, ToOne } from '../api/body.ts';
import type { ListSpec } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';

const Parameters = z.record(z.string(), z.unknown()).nullable().optional();
const BindingName = z.string().min(1).max(255).nullable().optional();

/** Read first, to know which of the two it is. */
export const BindingKind = z.looseObject({ type: z.enum(['app', 'key']) });

export const CreateAppBinding = z.strictObject({
  type: z.literal('app'),
  name: BindingName,
  strategy: z.enum(['single', 'multiple']).default('single'),
  parameters: Parameters,
  metadata: MetadataUpdate.optional(),
  relationships: relationships({ service_instance: ToOne('Service instance'), app: ToOne('App') }),
});
export type CreateAppBinding = z.infer<typeof CreateAppBinding>;

export const CreateKeyBinding = z.strictObject({
  type: z.literal('key'),
  name: z.string().min(1).max(255),
  parameters: Parameters,
  metadata: MetadataUpdate.optional(),
  relationships: relationships({ service_instance: ToOne('Service instance') }),
});
export type CreateKeyBinding = z.infer<typeof CreateKeyBinding>;

/** What describes both kinds, for the API's document. */
export const CreateCredentialBinding = z.union([CreateAppBinding, CreateKeyBinding]);
export const UpdateCredentialBinding = z.strictObject({ metadata: MetadataUpdate.optional() });

export const BINDING_LIST: ListSpec = {
  filters: [
    'names',
    'guids',
    'app_guids',
    'app_names',
    'service_instance_guids',
    'service_instance_names',
    'service_plan_guids',
    'service_plan_names',
    'service_offering_guids',
    'service_offering_names',
  ],
  plain: ['type'],
  order: ['name'],
  include: ['app', 'service_instance'],
  labels: true,
};
