import { z } from 'zod';
import { IdentityProviders } from './identity/config.ts';

const seconds = z.number().int().positive();
const Validities = { access_token_validity: seconds.optional(), refresh_token_validity: seconds.optional() };

export const ClientSeed = z.strictObject({
  secret: z
    .string()
    .nullable()
    .default(null)
    .describe('"" is an empty one, as that of `cf`; null: it can prove nothing'),
  name: z.string().nullable().default(null),
  scope: z.array(z.string()).default([]),
  authorities: z.array(z.string()).default([]),
  authorized_grant_types: z.array(z.string()).min(1),
  redirect_uri: z.array(z.string()).default([]),
  autoapprove: z.array(z.string()).default([]).describe('scopes that a user is not asked about; "true" for all'),
  has_redirect_wildcards: z.boolean().default(false).describe('whether * in its redirect URIs stands for more'),
  allowpublic: z.boolean().default(false).describe('may use the code grant with PKCE and no secret'),
  ...Validities,
});
export type ClientSeed = z.output<typeof ClientSeed>;

const colour = z.string().regex(/^#[0-9a-fA-F]{6}$/, 'a colour like #1f6feb');

export const UaaConfig = z
  .strictObject({
    index: z.number().int().min(0).default(0),
    listen: z
      .strictObject({
        host: z.string().default('127.0.0.1'),
        port: z.number().int().min(0).max(65535).default(8084),
      })
      .prefault({}),
    address: z
      .strictObject({ ip: z.string().default('127.0.0.1') })
      .prefault({})
      .describe('where routers reach `listen`'),
    hosts: z.strictObject({ uaa: z.string(), login: z.string() }).describe('host names registered with the router'),
    urls: z
      .strictObject({ uaa: z.url(), login: z.url() })
      .optional()
      .describe('as users reach those hosts; http://<host> by default'),
    issuer: z.string().optional().describe('`iss` of every token; <uaa url>/oauth/token by default'),
    database: z.strictObject({ url: z.string(), max_connections: z.number().int().min(1).default(10) }),
    nats_servers: z.array(z.string()).min(1),
    status: z.strictObject({
      host: z.string().default('127.0.0.1'),
      port: z.number().int().default(0),
      user: z.string().default('varz'),
      password: z.string().min(1),
    }),
    tokens: z
      .strictObject({
        access_token_validity_s: seconds.default(43_200).describe('for clients that set none'),
        refresh_token_validity_s: seconds.default(2_592_000),
        refresh_reuse_grace_s: z
          .number()
          .int()
          .min(0)
          .default(60)
          .describe('a refresh token that was just exchanged still works so long: two commands may share it'),
        key_rotation_days: z.number().positive().default(90),
        code_validity_s: seconds.default(300),
      })
      .prefault({}),
    sessions: z
      .strictObject({ idle_s: seconds.default(1_800), max_s: seconds.default(43_200) })
      .prefault({})
      .describe('how long a browser stays signed in'),
    lockout: z
      .strictObject({
        after_failures: z.number().int().min(1).default(5),
        within_s: seconds.default(1_200),
        for_s: seconds.default(300),
      })
      .prefault({}),
    password_policy: z
      .strictObject({
        min_length: z.number().int().min(1).default(1),
        max_length: z.number().int().max(4096).default(255),
        uppercase: z.number().int().min(0).default(0).describe('at least so many of them'),
        lowercase: z.number().int().min(0).default(0),
        digits: z.number().int().min(0).default(0),
        special: z.number().int().min(0).default(0),
      })
      .prefault({}),
    client_secrets: z
      .record(z.string(), z.string())
      .default({})
      .describe('secrets of the clients that come with the UAA (see seed.ts); one without a secret is not made'),
    clients: z.record(z.string(), ClientSeed).default({}).describe('further clients, or others in their place'),
    groups: z.record(z.string(), z.string()).default({}).describe('further groups, with their descriptions'),
    admin: z
      .strictObject({
        username: z.string().default('admin'),
        password: z.string().min(1).optional(),
        password_file: z.string().optional().describe('a file that holds the password alone'),
        email: z.string().default('admin'),
        reset: z.boolean().default(false).describe('sets the password of an admin who is already there'),
      })
      .refine((a) => a.password !== undefined || a.password_file !== undefined, 'needs password or password_file'),
    identity_providers: IdentityProviders.describe('other places that know people, by the origin of their users'),
    smtp: z
      .strictObject({
        host: z.string(),
        port: z.number().int().default(587),
        user: z.string().optional(),
        password: z.string().optional(),
        from: z.string(),
        is_tls: z.boolean().default(false).describe('TLS from the first byte; otherwise STARTTLS where offered'),
      })
      .optional()
      .describe('for forgotten passwords; absent: that page says whom to ask'),
    branding: z
      .strictObject({
        name: z.string().default('Ingot'),
        logo: z
          .string()
          .regex(/^data:image\/(png|svg\+xml|jpeg|webp);base64,[A-Za-z0-9+/=]+$/)
          .optional()
          .describe('an image as a data: URL'),
        colour: colour.default('#0b5cad'),
        footer: z.string().default(''),
      })
      .prefault({}),
    body_limit_bytes: z.number().int().default(1_048_576),
    log_level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  })
  .transform((config) => {
    const urls = config.urls ?? { uaa: `http://${config.hosts.uaa}`, login: `http://${config.hosts.login}` };
    return { ...config, urls, issuer: config.issuer ?? `${urls.uaa}/oauth/token` };
  });
export type UaaConfig = z.output<typeof UaaConfig>;
