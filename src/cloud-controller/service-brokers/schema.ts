import { z } from 'zod';
import { Name, relationships, ToOne } from '../api/body.ts';
import type { ListSpec } from '../api/list.ts';
import { MetadataUpdate } from '../api/metadata.ts';

const BrokerUrl = z
  .string()
  .max(2048)
  .transform((text, context) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (!url || !/^https?:$/.test(url.protocol)) {
      context.addIssue({ code: 'custom', message: `Url '${text}' must be a valid url` });
      return z.NEVER;
    }
    if (url.username !== '' || url.password !== '') {
      context.addIssue({ code: 'custom', message: 'Url must not contain authentication' });
      return z.NEVER;
    }
    return text;
  });

const Authentication = z.strictObject({
  type: z.literal('basic', { error: 'Authentication.type must be one of ["basic"]' }),
  credentials: z.strictObject({ username: z.string().min(1).max(1024), password: z.string().min(1).max(10_000) }),
});

export const CreateServiceBroker = z.strictObject({
  name: Name,
  url: BrokerUrl,
  authentication: Authentication,
  relationships: relationships({ space: ToOne('Space').optional() }).optional(),
  metadata: MetadataUpdate.optional(),
});
export type CreateServiceBroker = z.infer<typeof CreateServiceBroker>;

export const UpdateServiceBroker = z.strictObject({
  name: Name.optional(),
  url: BrokerUrl.optional(),
  authentication: Authentication.optional(),
  metadata: MetadataUpdate.optional(),
});

export const BROKER_LIST: ListSpec = { filters: ['guids', 'names', 'space_guids'], order: ['name'], labels: true };
