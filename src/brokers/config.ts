import { z } from 'zod';
import { BlobstoreConfig } from '#blobs/config.ts';
import { SignInConfig } from './dashboard/sign-in.ts';

const seconds = z.number().positive();
const port = z.number().int().min(1).max(65_535);

/** Of a plan one says the name; its id follows from it, so that a plan keeps its instances when others come and go. */
const plan = { name: z.string().regex(/^[a-z0-9][a-z0-9-]*$/), description: z.string() };

const Postgresql = z.strictObject({
  bin_dir: z
    .string()
    .default('/usr/lib/postgresql/15/bin')
    .describe('where postgres, initdb, pg_dump and pg_restore are'),
  port: port.default(5432),
  memory_mb: z.number().int().positive().default(1024).describe('of the server and all its connections'),
  max_connections: z.number().int().positive().default(200),
  check_interval_s: seconds.default(5).describe('how often sizes are compared with those of the plans'),
  backup_interval_h: z.number().positive().default(24),
  backups_kept: z
    .number()
    .int()
    .min(1)
    .default(7)
    .describe('of those made by the clock; the others are kept until deleted'),
  plans: z
    .array(
      z.strictObject({
        ...plan,
        size_mb: z.number().int().positive(),
        connections: z.number().int().positive(),
      }),
    )
    .min(1)
    .default([
      { name: 'small', description: 'A database of 256 MB, 10 connections', size_mb: 256, connections: 10 },
      { name: 'medium', description: 'A database of 2 GB, 25 connections', size_mb: 2048, connections: 25 },
      { name: 'large', description: 'A database of 8 GB, 50 connections', size_mb: 8192, connections: 50 },
    ]),
});
export type PostgresqlConfig = z.infer<typeof Postgresql>;

const Redis = z.strictObject({
  ports: z
    .strictObject({ first: port, last: port })
    .default({ first: 6400, last: 6999 })
    .describe('each instance has one for good'),
  plans: z
    .array(
      z.strictObject({
        ...plan,
        memory_mb: z.number().int().positive(),
        clients: z.number().int().positive(),
      }),
    )
    .min(1)
    .default([
      { name: 'small', description: 'A server of 64 MB, 50 connections', memory_mb: 64, clients: 50 },
      { name: 'medium', description: 'A server of 256 MB, 200 connections', memory_mb: 256, clients: 200 },
      { name: 'large', description: 'A server of 1 GB, 500 connections', memory_mb: 1024, clients: 500 },
    ]),
});
export type RedisConfig = z.infer<typeof Redis>;

const Smtp = z.strictObject({
  port: port.default(2525),
  page: z
    .strictObject({
      port: port.default(8025).describe('of the page by which mail is read, on `address`, for the router'),
      url: z.url().describe('where people reach it; its host is registered with the router'),
      sign_in: SignInConfig.omit({ client_id: true, client_secret: true }),
    })
    .optional()
    .describe('left out, mail is counted and cannot be read'),
  memory_mb: z.number().int().positive().default(256),
  message_mb: z.number().positive().default(10).describe('of one message, at most'),
  max_clients: z.number().int().positive().default(50),
  plans: z
    .array(z.strictObject({ ...plan, messages: z.number().int().positive(), size_mb: z.number().positive() }))
    .min(1)
    .default([
      { name: 'small', description: 'The last 100 messages, 20 MB', messages: 100, size_mb: 20 },
      { name: 'large', description: 'The last 1000 messages, 200 MB', messages: 1000, size_mb: 200 },
    ]),
});
export type SmtpConfig = z.infer<typeof Smtp>;

const Nats = z.strictObject({
  port: port.default(4222),
  memory_mb: z.number().int().positive().default(512).describe('of the server; a quarter of it may be streams'),
  disk_mb: z.number().int().positive().default(10_240).describe('of all streams together'),
  payload_mb: z.number().positive().default(1).describe('of one message, at most'),
  plans: z
    .array(
      z.strictObject({
        ...plan,
        connections: z.number().int().positive(),
        stream_disk_mb: z.number().int().min(0),
        stream_memory_mb: z.number().int().min(0),
        streams: z.number().int().positive().default(100),
      }),
    )
    .min(1)
    .default([
      {
        name: 'small',
        description: 'An account of 50 connections, streams of 64 MB',
        connections: 50,
        stream_disk_mb: 64,
        stream_memory_mb: 8,
        streams: 20,
      },
      {
        name: 'large',
        description: 'An account of 500 connections, streams of 1 GB',
        connections: 500,
        stream_disk_mb: 1024,
        stream_memory_mb: 32,
        streams: 200,
      },
    ]),
});
export type NatsConfig = z.infer<typeof Nats>;

const Volume = z.strictObject({
  disk_mb: z.number().int().positive().default(20_480).describe('of all volumes together'),
  plans: z
    .array(z.strictObject({ ...plan, size_mb: z.number().int().min(16) }))
    .min(1)
    .default([
      { name: 'small', description: 'A folder of 256 MB on one machine', size_mb: 256 },
      { name: 'large', description: 'A folder of 2 GB on one machine', size_mb: 2048 },
    ]),
});
export type VolumeConfig = z.infer<typeof Volume>;

export const BrokersConfig = z.strictObject({
  index: z.number().int().min(0).default(0),
  version: z.string().default('0.1.0'),
  log_level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  nats_servers: z.array(z.string()).min(1),
  status: z.strictObject({
    host: z.string().default('127.0.0.1'),
    port: z.number().int().default(0),
    user: z.string(),
    password: z.string(),
  }),
  listen: z
    .strictObject({ host: z.string().default('127.0.0.1'), port: z.number().int().min(0).max(65_535) })
    .describe('each broker is below a path with its name: /postgresql/v2/catalog'),
  login: z
    .strictObject({ user: z.string().min(1), password: z.string().min(16) })
    .describe('what platforms log in with'),
  database: z
    .strictObject({ url: z.string(), max_connections: z.number().int().min(1).default(3) })
    .describe('what the brokers know of instances and bindings; not where tenants have their data'),
  credential_key: z.string().min(32).describe('all passwords that are handed out are made of it; none is kept'),
  address: z.ipv4().describe('of this machine, by which apps reach the services; containers must be let through to it'),
  client_network: z.cidrv4().describe('where apps come from'),
  state_folder: z.string().describe("the services' data"),
  user: z.string().default('ingot-services').describe('system user of the services; made when it is not there'),
  cgroup: z
    .string()
    .regex(/^[a-z0-9-]+$/)
    .default('ingot-services')
    .describe('control group that the services are limited by'),
  blobstore: BlobstoreConfig.describe('for backups'),
  postgresql: Postgresql.optional().describe('left out, there is no such broker'),
  redis: Redis.optional(),
  smtp: Smtp.optional(),
  nats: Nats.optional(),
  volume: Volume.optional(),
});
export type BrokersConfig = z.infer<typeof BrokersConfig>;
