import { z } from 'zod';
import { MetadataUpdate } from '../api/metadata.ts';

/** Either the guid that the UAA gave, or a name and where the user comes from. */
export const CreateUser = z
  .strictObject({
    guid: z.string().min(1).max(200).optional(),
    username: z.string().min(1).max(255).optional(),
    origin: z.string().min(1).max(255).optional(),
    metadata: MetadataUpdate.optional(),
  })
  .refine((user) => user.guid !== undefined || user.username !== undefined || user.origin !== undefined, {
    error: "Guid can't be blank",
  })
  .refine((user) => user.guid === undefined || (user.username === undefined && user.origin === undefined), {
    error: "Username cannot be provided with 'guid'",
  })
  .refine((user) => user.origin === undefined || user.username !== undefined, {
    error: "Origin can only be provided together with 'username'",
  })
  .refine((user) => user.username === undefined || user.origin !== undefined, {
    error: "Username can only be provided together with 'origin'",
  });

export const UpdateUser = z.strictObject({ metadata: MetadataUpdate.optional() });
