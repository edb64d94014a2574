import { z } from 'zod';

const text = z
  .string()
  .max(255)
  .refine((value) => !value.includes('\0'), 'has a null character');
const Multi = z.array(z.looseObject({ value: text.optional(), primary: z.boolean().optional() }));

/** A user as SCIM clients send one; what is not here is ignored (RFC 7644 section 3.3). */
export const ScimUserBody = z.looseObject({
  id: z.string().max(36).optional(),
  externalId: text.nullish(),
  userName: text.optional(),
  password: z.string().max(4096).nullish(),
  origin: text.nullish(),
  name: z.looseObject({ givenName: text.nullish(), familyName: text.nullish() }).nullish(),
  emails: Multi.nullish(),
  phoneNumbers: Multi.nullish(),
  active: z.boolean().nullish(),
  verified: z.boolean().nullish(),
  meta: z.looseObject({ attributes: z.array(z.string()).optional() }).nullish(),
});
export type ScimUserBody = z.infer<typeof ScimUserBody>;

export const PasswordChangeBody = z.looseObject({
  oldPassword: z.string().max(4096).nullish(),
  password: z.string().min(1).max(4096),
});

/** Accounts lock by themselves, so to unlock is all that can be asked for. */
export const UserStatusBody = z.strictObject({
  locked: z.literal(false, 'accounts are locked by failed sign-ins alone; only false can be set'),
});
