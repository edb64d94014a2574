/**
 * Warden's API: HTTP with JSON bodies over a unix socket. The verbs are those of cloudfoundry/warden's protocol; bodies and
 * replies below. An error is `{"error":{"code","message"}}` with the status of WARDEN_ERRORS, and comes back out of the
 * client as the same class (http/warden-client.ts).
 *
 * GET    /ping                                        WardenFacts
 * GET    /containers                                  ContainerList
 * POST   /containers                                  CreateRequest → CreateReply
 * GET    /containers/:handle                          ContainerInfo
 * POST   /containers/:handle/stop                     StopContainer → {}; TERM to every job, KILL after the grace
 * DELETE /containers/:handle                          {}; a container that is not there is container_not_found
 * POST   /containers/:handle/jobs                     SpawnRequest → {job_id}
 * GET    /containers/:handle/jobs/:job_id             waits for the end → JobResult (link)
 * GET    /containers/:handle/jobs/:job_id/output?offset=N   ndjson of JobOutput, from byte N of the log file on, to the end (stream)
 * POST   /containers/:handle/jobs/:job_id/signal      SignalRequest → {}; a job that has ended is left alone
 * POST   /containers/:handle/run                      SpawnRequest → JobResult with what it wrote (run)
 * GET    /containers/:handle/attach                   upgrade to `ingot-attach` (contracts/attach.ts): a process with its streams
 * GET    /containers/:handle/dial?host=&port=         upgrade to `ingot-dial`: a connection from inside the container's network
 * POST   /containers/:handle/net_in                   NetInRequest → PortMapping
 * PUT    /containers/:handle/net_out                  NetOutRequest → {}; replaces all egress rules in one transaction
 * PUT    /containers/:handle/limits                   LimitRequest → ContainerLimits, those in force
 * POST   /layers                                      LayerRequest → {}; whiteouts of an unpacked image layer become overlay's, in place
 * PUT    /network                                     NetworkState → {}; which containers find and reach one another
 * PUT    /containers/:handle/files?path=              tar stream in, unpacked below `path` as vcap (copy_in)
 * GET    /containers/:handle/files?path=              tar stream of `path` (copy_out)
 */
import { z } from 'zod';
import { EgressRule } from './dea.ts';

export const WARDEN_ERRORS = {
  container_not_found: 404,
  job_not_found: 404,
  handle_taken: 409,
  container_state: 409,
  resources_exhausted: 503,
  invalid_request: 400,
  path_not_found: 404,
  create_failed: 500,
  spawn_failed: 500,
  internal: 500,
} as const;
export type WardenErrorCode = keyof typeof WARDEN_ERRORS;

export const WardenFacts = z.object({
  network: z.string().describe('where its containers have their addresses, a CIDR'),
});
export type WardenFacts = z.infer<typeof WardenFacts>;

export const BindMount = z.object({
  src_path: z.string().describe('on the host'),
  dst_path: z.string().describe('in the container'),
  mode: z.enum(['ro', 'rw']),
  image: z
    .boolean()
    .optional()
    .describe('src_path is an ext4 image, mounted once for all containers that name it, for as long as there are any'),
});

/** Among containers that want the same disk at once; 100 is what the kernel gives unless told. */
const IoWeight = z.number().int().min(1).max(1000);

export const ContainerLimits = z.object({
  memory_in_bytes: z.number().int().positive(),
  disk_in_bytes: z.number().int().positive(),
  cpu_shares: z.number().int().min(2).max(10_000).default(128),
  cpu_quota: z.number().positive().optional().describe('cores, as a cap'),
  io_weight: IoWeight.optional(),
  pids: z.number().int().positive().default(1024),
  nofile: z.number().int().positive().default(16_384),
  bandwidth: z
    .object({ rate: z.number().int(), burst: z.number().int() })
    .optional()
    .describe('bytes per second, bytes'),
});

export const CreateRequest = z.strictObject({
  handle: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/)
    .optional(),
  stack: z
    .string()
    .optional()
    .describe('name of a stack that warden is configured with; without one, `layers` are the whole root file system'),
  layers: z
    .array(z.string())
    .max(128)
    .default([])
    .describe('host folders laid read-only over the stack, lowest first; owners on disk are those in the container'),
  bind_mounts: z.array(BindMount).default([]),
  limits: ContainerLimits,
  net_in: z.array(z.object({ host_port: z.number().int().optional(), container_port: z.number().int() })).default([]),
  net_out: z.array(EgressRule).default([]),
  hostname: z.string().optional(),
  is_background: z
    .boolean()
    .default(false)
    .describe('shares of CPU and disks count in a group of all such containers, which has little beside the others'),
  properties: z
    .record(z.string(), z.string())
    .default({})
    .describe('kept and given back by info and list; for the caller'),
});
export type CreateRequest = z.input<typeof CreateRequest>;

export const PortMapping = z.object({ host_port: z.number().int(), container_port: z.number().int() });
export type PortMapping = z.infer<typeof PortMapping>;

export const CreateReply = z.object({
  handle: z.string(),
  host_ip: z.string().describe("the host's end of the container's network, gateway and name server of it"),
  container_ip: z.string(),
  ports: z.array(PortMapping),
});
export type CreateReply = z.infer<typeof CreateReply>;

export const ContainerInfo = CreateReply.extend({
  state: z.enum(['active', 'stopped']),
  events: z.array(z.string()).describe('"out of memory"'),
  properties: z.record(z.string(), z.string()),
  memory_stat: z.object({ usage: z.number(), rss: z.number(), cache: z.number(), limit: z.number() }).describe('bytes'),
  cpu_stat: z.object({ usage_ns: z.number(), throttled_ns: z.number() }),
  io_stat: z
    .object({
      weight: z.number().nullable(),
      note: z.string().nullable().describe('why the weight decides nothing here'),
    })
    .describe('of its disk traffic'),
  disk_stat: z.object({ bytes_used: z.number(), bytes_limit: z.number() }),
  pids: z.number().int(),
  job_ids: z.array(z.string()),
});
export type ContainerInfo = z.infer<typeof ContainerInfo>;

/** A port of the host from warden's pool unless one is asked for; `container_port` is the same number unless given. */
export const NetInRequest = z.strictObject({
  host_port: z.number().int().min(1).max(65_535).optional(),
  container_port: z.number().int().min(1).max(65_535).optional(),
});
export type NetInRequest = z.infer<typeof NetInRequest>;

export const NetOutRequest = z.strictObject({ rules: z.array(EgressRule) });

export const ContainerList = z.object({
  containers: z.array(z.object({ handle: z.string(), properties: z.record(z.string(), z.string()) })),
});

export type ContainerList = z.infer<typeof ContainerList>;

export const StopContainer = z.strictObject({
  grace_s: z.number().min(0).default(10),
  kill: z.boolean().default(false),
});
export type StopContainer = z.input<typeof StopContainer>;

export const SpawnRequest = z.strictObject({
  args: z.array(z.string()).min(1),
  env: z.array(z.string()).default([]).describe('"K=V"'),
  cwd: z.string().default('/home/vcap'),
  user: z
    .string()
    .min(1)
    .default('vcap')
    .describe("vcap; root, the container's own; or USER[:GROUP] as an image says it, by name or number"),
  rlimits: z
    .object({
      nofile: z.number().int().optional(),
      nproc: z.number().int().optional(),
      core: z.number().int().optional(),
    })
    .default({}),
  job_id: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/)
    .optional(),
});
export type SpawnRequest = z.input<typeof SpawnRequest>;

const Port = z.number().int().min(1).max(65_535);

/** By name, in lower case: the containers behind it, here and elsewhere. */
export const InternalRoutes = z.record(
  z.string(),
  z.array(z.object({ index: z.number().int().min(0), address: z.ipv4() })),
);
export type InternalRoutes = z.infer<typeof InternalRoutes>;

/** One container's leave to reach a peer, or to be reached by one; where both are here, both have to say so. */
export const NetworkFlow = z.object({
  handle: z.string().describe('a container that is not here (any more) is passed over'),
  direction: z.enum(['from', 'to']).describe('from the container to the peer, or from the peer to the container'),
  peer: z.ipv4(),
  protocol: z.enum(['tcp', 'udp']),
  first_port: Port,
  last_port: Port,
});
export type NetworkFlow = z.infer<typeof NetworkFlow>;

/**
 * All that one owner says of the network between containers; it replaces what the same owner said before, in one transaction, and
 * outlives the daemon. Connections that are open stay open.
 */
export const NetworkState = z.strictObject({
  owner: z.string().min(1).describe('a DEA; several may use one warden'),
  internal_routes: InternalRoutes,
  flows: z.array(NetworkFlow),
  networks: z.array(z.cidrv4()).describe('of other wardens: closed to all but flows'),
});
export type NetworkState = z.infer<typeof NetworkState>;

/** A layer of an image, unpacked on the host with its owners and modes, before a container has it. */
export const LayerRequest = z.strictObject({ path: z.string() });

export const SpawnReply = z.object({ job_id: z.string() });

export const SIGNALS = ['HUP', 'INT', 'QUIT', 'KILL', 'USR1', 'USR2', 'TERM', 'CONT', 'STOP', 'WINCH'] as const;
export const SignalRequest = z.strictObject({ signal: z.enum(SIGNALS) });
export type SignalName = (typeof SIGNALS)[number];

export const JobResult = z.object({
  exit_status: z.number().int().describe('128 + n when signal n ended it; -1 when it is not known'),
  oom: z.boolean().describe('whether the container ran out of memory meanwhile'),
  stdout: z.string().optional(),
  stderr: z.string().optional(),
});
export type JobResult = z.infer<typeof JobResult>;

/** One line of output (`data` base64 without its newline; `partial`: the line goes on), or the end. */
export const JobOutput = z.union([
  z.object({
    name: z.enum(['stdout', 'stderr']),
    data: z.string(),
    partial: z.boolean(),
    timestamp_ns: z.string(),
    offset: z.number().int().describe('where to resume after this line'),
  }),
  z.object({ exit_status: z.number().int(), oom: z.boolean() }),
]);
export type JobOutput = z.infer<typeof JobOutput>;

export type ContainerLimits = z.infer<typeof ContainerLimits>;

/** Changes only what it names; nothing named asks what is in force. No defaults here: what is absent stays as it is. */
export const LimitRequest = z.strictObject({
  memory_in_bytes: z.number().int().positive().optional(),
  disk_in_bytes: z.number().int().positive().optional(),
  cpu_shares: z.number().int().min(2).max(10_000).optional(),
  cpu_quota: z.number().positive().optional(),
  io_weight: IoWeight.optional(),
  pids: z.number().int().positive().optional(),
  bandwidth: ContainerLimits.shape.bandwidth,
});
export type LimitRequest = z.infer<typeof LimitRequest>;
export const WardenError = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
