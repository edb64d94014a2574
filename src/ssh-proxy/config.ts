import { z } from 'zod';

const Credentials = z.strictObject({ user: z.string().min(1), password: z.string().min(1) });

export const SshProxyConfig = z.strictObject({
  index: z.number().int().min(0).default(0),
  version: z.string().default('0.1.0'),
  log_level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  listen: z.strictObject({
    host: z.string().default('127.0.0.1'),
    port: z.number().int().min(0).max(65_535).default(2222),
  }),
  host_key: z
    .string()
    .describe(
      'private key in PEM; the cloud controller tells its fingerprint, so all proxies of one platform have the same',
    ),
  nats_servers: z.array(z.string()).min(1).describe('nats://[user:password@]host:port, any of which will do'),
  uaa: z.strictObject({
    url: z.url().describe('where this component reaches the UAA'),
    client_id: z.string().default('ssh-proxy'),
    client_secret: z.string(),
    timeout_ms: z.number().int().positive().default(5_000),
  }),
  cc_url: z.string().describe("the cloud controller's internal face; asked with the user's own token"),
  login_timeout_s: z.number().positive().default(30).describe('a connection not logged in by then is closed'),
  max_connections: z.number().int().positive().default(1_000),
  status: z
    .strictObject({ host: z.string().default('127.0.0.1'), port: z.number().int().default(0), ...Credentials.shape })
    .optional()
    .describe('healthz, varz and metrics for the collector; port 0 takes any'),
});
export type SshProxyConfig = z.output<typeof SshProxyConfig>;
