import { z } from 'zod';

const groups = z
  .record(z.string(), z.array(z.string()))
  .default({})
  .describe('their groups → our groups, of which such users become members as long as the provider says so');
const label = z.string().min(1).describe('what the sign-in page calls it');

const LdapProvider = z.strictObject({
  kind: z.literal('ldap'),
  label,
  url: z.string().regex(/^ldaps?:\/\//),
  is_starttls: z.boolean().default(false),
  ca: z.string().optional().describe('PEM of who signed the certificate of the directory'),
  bind_dn: z.string().describe('who searches'),
  bind_password: z.string(),
  user_search_base: z.string(),
  user_name_attribute: z.string().default('uid').describe('what is compared with the name given'),
  email_attribute: z.string().default('mail'),
  given_name_attribute: z.string().default('givenName'),
  family_name_attribute: z.string().default('sn'),
  group_search_base: z.string().optional().describe('absent: the groups are not asked for'),
  group_member_attribute: z.string().default('member').describe('holds the DN of each member'),
  group_name_attribute: z.string().default('cn'),
  groups,
  timeout_ms: z.number().int().default(5_000),
});
export type LdapProvider = z.output<typeof LdapProvider>;

const OidcProvider = z.strictObject({
  kind: z.literal('oidc'),
  label,
  issuer: z.url().describe('below which .well-known/openid-configuration is'),
  client_id: z.string(),
  client_secret: z.string(),
  scopes: z.array(z.string()).default(['openid', 'profile', 'email']),
  user_name_claim: z
    .string()
    .default('preferred_username')
    .describe('the email, then the subject, where it is missing'),
  groups_claim: z.string().default('groups'),
  groups,
  timeout_ms: z.number().int().default(10_000),
});
export type OidcProvider = z.output<typeof OidcProvider>;

const SamlProvider = z.strictObject({
  kind: z.literal('saml'),
  label,
  entry_point: z.url().describe("the provider's single sign-on address, for HTTP-Redirect"),
  certificate: z.string().describe('PEM of the certificate that it signs assertions with'),
  entity_id: z.string().optional().describe('ours; the host of the login url by default'),
  email_attribute: z.string().default('email'),
  given_name_attribute: z.string().default('givenName'),
  family_name_attribute: z.string().default('surname'),
  groups_attribute: z.string().default('groups'),
  groups,
});
export type SamlProvider = z.output<typeof SamlProvider>;

/** Other places that know people, each under the `origin` that its users get. */
export const IdentityProviders = z
  .record(
    z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,35}$/)
      .refine((origin) => origin !== 'uaa', 'uaa is the origin of our own users'),
    z.discriminatedUnion('kind', [LdapProvider, OidcProvider, SamlProvider]),
  )
  .default({});
export type IdentityProviders = z.output<typeof IdentityProviders>;
