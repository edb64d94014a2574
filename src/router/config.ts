import { z } from 'zod';
import { ReservablePorts } from '#contracts/tcp-routes.ts';

const port = z.number().int().min(0).max(65_535);
const positive = z.number().positive();

const CertificatePair = z.strictObject({
  cert_file: z.string().describe('PEM, leaf first, then what it was signed by'),
  key_file: z.string(),
});

/** The router's configuration. Where Cloud Foundry's release sets another default than the program, the release's is taken. */
export const RouterConfig = z
  .strictObject({
    host: z.string().default('0.0.0.0').describe('address to serve on'),
    port: port.default(80).describe('plain HTTP; 0 takes any free port'),
    reuse_port: z.boolean().default(false).describe('several router processes share the ports, one a core'),
    index: z.number().int().min(0).default(0),
    nats_servers: z.array(z.string()).min(1).describe('nats://user:password@host:port'),
    tls: z
      .strictObject({
        port: port.default(443),
        certificates: z
          .array(CertificatePair)
          .min(1)
          .describe('chosen by SNI; the first serves names that no other has'),
        reload_interval_s: positive.default(10).describe('how often the files are looked at for a change'),
        min_version: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2'),
        ciphers: z.string().optional().describe('in the notation of OpenSSL'),
        client_ca_file: z.string().optional().describe('ask clients for certificates signed by these'),
        has_http2: z.boolean().default(true),
      })
      .optional(),
    status: z
      .strictObject({
        host: z.string().default('127.0.0.1'),
        port: port.default(8080),
        user: z.string(),
        password: z.string(),
      })
      .describe('/health, /routes, /varz, /metrics'),
    tcp: z
      .strictObject({
        reservable_ports: ReservablePorts.default('1024-1123').describe(
          "the router group's, as the cloud controller has it",
        ),
      })
      .optional()
      .describe(
        'TCP routes: listened on while an endpoint is registered as domain:port; without this they are ignored',
      ),
    droplet_stale_threshold_s: positive
      .default(120)
      .describe('a plain endpoint not registered again for so long is pruned'),
    prune_interval_s: positive.default(30),
    suspend_pruning_if_nats_unavailable: z.boolean().default(true),
    minimum_register_interval_s: positive.default(20).describe('told to registrants'),
    start_response_delay_s: z
      .number()
      .min(0)
      .default(1)
      .describe('time for registrants to answer router.start before the first request'),
    empty_pool_timeout_s: z
      .number()
      .min(0)
      .default(0)
      .describe('a route that lost its last endpoint answers 503 so long, then 404'),
    load_balancing: z.enum(['round-robin', 'least-connection']).default('round-robin'),
    timeouts: z
      .strictObject({
        endpoint_s: positive.default(900).describe('from the request to the end of its response; tunnels exempt'),
        dial_s: positive.default(5),
        tls_handshake_s: positive.default(10),
        request_head_s: positive.default(30).describe('from the first byte of a request to the end of its head'),
        request_body_idle_s: positive.default(60).describe('without a byte of the body'),
        frontend_idle_s: positive.default(900),
        backend_idle_s: positive.default(90),
        backend_keep_alive_probe_s: positive.default(1),
        linger_s: positive.default(5).describe('how long a closing connection may still talk'),
      })
      .prefault({}),
    limits: z
      .strictObject({
        request_head_bytes: z.number().int().min(1024).default(1_048_576),
        response_head_bytes: z.number().int().min(1024).default(1_048_576),
        max_conns_per_backend: z.number().int().min(0).default(500).describe('0 for no limit'),
        max_idle_conns_per_backend: z.number().int().min(0).default(100).describe('0 turns keep-alive to backends off'),
        max_connections: z.number().int().min(1).default(50_000).describe('of clients; more are not accepted'),
      })
      .prefault({}),
    max_attempts: z.number().int().min(1).max(10).default(3),
    failed_endpoint_rest_s: positive.default(30).describe('how long a failed endpoint stays out of rotation'),
    sticky_session_cookies: z.array(z.string()).default(['JSESSIONID']),
    forwarded_proto: z
      .enum(['keep', 'sanitize', 'https'])
      .default('keep')
      .describe('what a client says of X-Forwarded-Proto'),
    forwarded_client_cert: z
      .enum(['always_forward', 'forward', 'sanitize_set'])
      .default('always_forward')
      .describe('X-Forwarded-Client-Cert: as it came; only over mutual TLS; or replaced by the certificate shown'),
    tracing: z
      .strictObject({
        has_b3: z.boolean().default(true).describe('X-B3-TraceId, X-B3-SpanId and b3'),
        has_w3c: z.boolean().default(true).describe('traceparent and tracestate'),
        w3c_tenant_id: z.string().default(''),
        debug_key: z.string().optional().describe('requests with this X-Vcap-Trace are told who answered'),
      })
      .prefault({}),
    backend_tls: z
      .strictObject({
        ca_file: z.string().optional(),
        cert_file: z.string().optional(),
        key_file: z.string().optional(),
      })
      .prefault({}),
    route_services: z
      .strictObject({
        secret: z.string().min(1).describe('signatures are made with it'),
        previous_secret: z.string().optional(),
        timeout_s: positive.default(60),
        ca_file: z.string().optional().describe("beside the system's"),
        hairpin: z
          .boolean()
          .default(true)
          .describe('a route service that is itself a route of this router is reached directly'),
      })
      .optional(),
    logging: z
      .strictObject({
        access_log_file: z.string().optional().describe('reopened on SIGHUP'),
        flush_interval_ms: positive.default(100),
        has_app_lines: z.boolean().default(true).describe("the line also goes to the app's own log, as RTR"),
        app_lines_per_s: z
          .number()
          .int()
          .min(0)
          .default(1000)
          .describe('of one app; what is above is counted, not sent'),
        has_http_timers: z
          .boolean()
          .default(false)
          .describe("beside each such line a timer `http`, as gorouter's, which autoscalers read; costs as much again"),
        app_figures_interval_s: z
          .number()
          .min(0)
          .default(15)
          .describe("how often an app's log is told what each instance answered and how soon; 0: never"),
      })
      .prefault({}),
    drain: z
      .strictObject({
        wait_s: z.number().min(0).default(20).describe('health says 503 while everything is still served'),
        timeout_s: z.number().min(0).default(900).describe('then requests under way may take so long'),
      })
      .prefault({}),
  })
  .refine(
    (c) => c.prune_interval_s < c.droplet_stale_threshold_s,
    'prune_interval_s must be below droplet_stale_threshold_s',
  );

export type RouterConfig = z.infer<typeof RouterConfig>;
