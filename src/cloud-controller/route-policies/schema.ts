import { z } from 'zod';
import { relationships, ToOne } from '../api/body.ts';
import type { ListSpec } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';

/** `cf:app:<uuid>`, `cf:space:<uuid>`, `cf:org:<uuid>` or `cf:any`. */
export const SOURCE = /^(?:cf:(app|space|org):([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})|cf:any)$/;

export const CreateRoutePolicy = z.strictObject({
  source: z.string().min(1).regex(SOURCE, {
    error: "Source must be in format 'cf:app:<uuid>', 'cf:space:<uuid>', 'cf:org:<uuid>', or 'cf:any'",
  }),
  relationships: relationships({ route: ToOne('Route') }),
  metadata: MetadataUpdate.optional(),
});
export type CreateRoutePolicy = z.infer<typeof CreateRoutePolicy>;

export const UpdateRoutePolicy = z.strictObject({ metadata: MetadataUpdate.optional() });

export const ROUTE_POLICY_LIST: ListSpec = {
  filters: ['guids', 'route_guids', 'space_guids', 'sources', 'source_guids'],
  include: ['source', 'route'],
  labels: true,
};
