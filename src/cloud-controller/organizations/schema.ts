import { z } from 'zod';
import { Name, ToOneOrNone } from '../api/body.ts';
import type { ListSpec } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';

export const CreateOrganization = z.strictObject({
  name: Name,
  suspended: z.boolean().optional(),
  metadata: MetadataUpdate.optional(),
});
export type CreateOrganization = z.infer<typeof CreateOrganization>;

export const UpdateOrganization = z.strictObject({
  name: Name.optional(),
  suspended: z.boolean().optional(),
  metadata: MetadataUpdate.optional(),
});
export type UpdateOrganization = z.infer<typeof UpdateOrganization>;

export const SetIsolationSegment = ToOneOrNone('Isolation segment');

export const ORGANIZATION_LIST: ListSpec = { filters: ['names', 'guids'], order: ['name'], labels: true };
