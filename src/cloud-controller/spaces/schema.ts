import { z } from 'zod';
import { Name, relationships, ToOne, ToOneOrNone } from '../api/body.ts';
import type { ListSpec } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';

export const CreateSpace = z.strictObject({
  name: Name,
  relationships: relationships({ organization: ToOne('Organization') }),
  metadata: MetadataUpdate.optional(),
});
export type CreateSpace = z.infer<typeof CreateSpace>;

export const UpdateSpace = z.strictObject({ name: Name.optional(), metadata: MetadataUpdate.optional() });
export type UpdateSpace = z.infer<typeof UpdateSpace>;

export const UpdateFeature = z.strictObject({ enabled: z.boolean() });
export const SetIsolationSegment = ToOneOrNone('Isolation segment');

export const SPACE_LIST: ListSpec = {
  filters: ['names', 'guids', 'organization_guids'],
  order: ['name'],
  labels: true,
  include: ['org', 'organization'],
};
