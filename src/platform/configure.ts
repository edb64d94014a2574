import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { CertificateFiles } from './certificates.ts';
import { projectRoot } from './home.ts';
import { reachFile } from './reach.ts';
import type { RoleName } from './roles.ts';
import { servicesAddress, servicesCgroup } from './services-place.ts';
import { type ServiceName, servicesOf } from './settings.ts';
import { hostKeyFingerprint } from './host-key.ts';
import { deaName, routerName, STACK, type PlatformPlan } from './plan.ts';

/** The CA bundle of a Debian machine: what the machine trusts, containers trust. */
const HOST_CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';

/** Who may read the figures of components; the password is among the secrets. */
export const STATUS_USER = 'status';

export const systemHosts = (domain: string): string[] =>
  ['api', 'uaa', 'login', 'log-cache', 'log-stream', 'doppler', 'ssh', 'smtp'].map((name) => `${name}.${domain}`);

/** Where a user reaches what, the port said when it is not the usual one. */
export function componentUrls({
  settings,
  http_port,
}: Pick<PlatformPlan, 'settings' | 'http_port'>): Record<
  'api' | 'uaa' | 'login' | 'log_cache' | 'log_stream',
  string
> & { app: (host: string) => string } {
  const url = (host: string): string => `http://${host}.${settings.domain}${http_port === 80 ? '' : `:${http_port}`}`;
  return {
    api: url('api'),
    uaa: url('uaa'),
    login: url('login'),
    log_cache: url('log-cache'),
    log_stream: url('log-stream'),
    app: url,
  };
}

export interface ConfigInputs {
  plan: PlatformPlan;
  certificates: CertificateFiles;
  nats_url: string;
  database_url: (name: string) => string;
}

/** Writes one YAML per component into the home's `config`; each is read by its own component and checked there. */
export function writeConfigs(inputs: ConfigInputs): void {
  const { plan } = inputs;
  const { traces } = plan.settings;
  const write = (folder: string, role: RoleName, config: object): void => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, `${role}.yml`), stringify(config), { mode: 0o600 });
    const tracing = join(folder, 'tracing.yml');
    if (traces) writeFileSync(tracing, stringify(traces), { mode: 0o600 });
    else rmSync(tracing, { force: true });
  };
  for (const [role, config] of componentConfigs(inputs)) write(plan.home.config, role, config);
  for (let index = 1; index < plan.settings.deas; index++) {
    write(join(plan.home.config, deaName(index)), 'dea', deaConfig(inputs, index));
  }
  for (let index = 1; index < plan.settings.routers; index++) {
    write(join(plan.home.config, routerName(index)), 'router', routerConfig(inputs, index));
  }
  writeFileSync(
    reachFile(plan.home),
    JSON.stringify({ http_port: plan.http_port, https_port: plan.https_port, ssh_port: plan.ssh_port }),
    {
      mode: 0o600,
    },
  );
}

/** What a service has to be told of this platform; the rest is as it comes. */
function serviceConfig(name: ServiceName, plan: PlatformPlan): object {
  switch (name) {
    case 'postgresql':
    case 'redis':
    case 'nats':
    case 'volume':
      return {};
    case 'smtp': {
      const { app, login } = componentUrls(plan);
      const token_url = `${url(plan.ports.uaa)}/oauth/token`;
      const api_url = url(plan.ports.cloud_controller);
      return { page: { url: app('smtp'), sign_in: { authorize_url: `${login}/oauth/authorize`, token_url, api_url } } };
    }
    default:
      return name satisfies never;
  }
}

const url = (port: number): string => `http://127.0.0.1:${port}`;

/** In the order of detection: the one that says yes to the least comes first. */
const BUILDPACKS = ['staticfile', 'java', 'ruby', 'nodejs', 'go', 'python', 'php', 'binary'];

function componentConfigs(inputs: ConfigInputs): [RoleName, object][] {
  return [
    ['router', routerConfig(inputs, 0)],
    ['uaa', uaaConfig(inputs)],
    ['cloud-controller', cloudControllerConfig(inputs)],
    [
      'health-manager',
      { ...shared(inputs), ...toCloudController(inputs.plan), log_level: inputs.plan.settings.log_level },
    ],
    ['dea', deaConfig(inputs, 0)],
    ['warden', wardenConfig(inputs)],
    ['loggregator', loggregatorConfig(inputs)],
    ['collector', collectorConfig(inputs)],
    ['brokers', brokersConfig(inputs)],
    ['ssh-proxy', sshProxyConfig(inputs)],
  ];
}

const shared = ({ plan, nats_url }: ConfigInputs): { nats_servers: string[]; status: object } => ({
  nats_servers: [nats_url],
  status: { host: '127.0.0.1', port: 0, ...statusLogin(plan) },
});

const statusLogin = ({ secrets }: PlatformPlan): { user: string; password: string } => ({
  user: STATUS_USER,
  password: secrets.status_password,
});

const toCloudController = ({
  ports,
  secrets,
}: PlatformPlan): { cc_url: string; internal_api: { user: string; password: string } } => ({
  cc_url: url(ports.cloud_controller_internal),
  internal_api: { user: 'internal', password: secrets.internal_api_password },
});

const toUaa = (plan: PlatformPlan): { url: string; issuer: string } => ({
  url: url(plan.ports.uaa),
  issuer: `${componentUrls(plan).uaa}/oauth/token`,
});

function routerConfig({ plan, certificates, nats_url }: ConfigInputs, index: number): object {
  const { settings, http_port, https_port, ports } = plan;
  return {
    index,
    host: settings.listen_host,
    port: http_port,
    reuse_port: settings.routers > 1,
    nats_servers: [nats_url],
    tls: {
      port: https_port,
      certificates: [{ cert_file: certificates.cert_file, key_file: certificates.key_file }],
      client_ca_file: certificates.instance_ca_file,
    },
    backend_tls: { ca_file: certificates.instance_ca_file },
    tcp: { reservable_ports: settings.tcp_ports },
    status: { host: '127.0.0.1', port: index === 0 ? ports.router_status : 0, ...statusLogin(plan) },
    start_response_delay_s: 0.3,
    // Nobody balances load over one router: nothing is gained by waiting before it stops.
    drain: { wait_s: 0, timeout_s: 5 },
  };
}

function uaaConfig(inputs: ConfigInputs): object {
  const { plan, database_url } = inputs;
  const { uaa, login } = componentUrls(plan);
  return {
    ...shared(inputs),
    listen: { host: '127.0.0.1', port: plan.ports.uaa },
    hosts: { uaa: `uaa.${plan.settings.domain}`, login: `login.${plan.settings.domain}` },
    urls: { uaa, login },
    database: { url: database_url('uaa'), max_connections: 8 },
    client_secrets: plan.secrets.uaa_clients,
    admin: { username: 'admin', password: plan.secrets.admin_password },
    log_level: plan.settings.log_level,
  };
}

function cloudControllerConfig(inputs: ConfigInputs): object {
  const { plan, database_url, nats_url } = inputs;
  const { settings, ports, home, secrets } = plan;
  const { api, uaa, login, log_cache, log_stream } = componentUrls(plan);
  return {
    external: { host: '127.0.0.1', port: ports.cloud_controller },
    internal: { host: '127.0.0.1', port: ports.cloud_controller_internal },
    internal_api: toCloudController(plan).internal_api,
    internal_url: url(ports.cloud_controller_internal),
    database: { url: database_url('cloud_controller'), max_connections: 16 },
    nats: { servers: [nats_url] },
    system_domain: settings.domain,
    app_domains: [settings.domain],
    router_groups: [{ guid: 'default-tcp', name: 'default-tcp', reservable_ports: settings.tcp_ports }],
    urls: {
      api,
      uaa,
      login,
      log_cache,
      log_stream,
      ssh: `ssh.${settings.domain}:${plan.ssh_port}`,
      ssh_host_key_fingerprint: hostKeyFingerprint(secrets.ssh_host_key),
    },
    uaa: {
      ...toUaa(plan),
      client: { id: 'cloud_controller_username_lookup', secret: secrets.uaa_clients.cloud_controller_username_lookup },
      dashboards_client: { id: 'cc-service-dashboards', secret: secrets.uaa_clients['cc-service-dashboards'] },
    },
    blobstore: { kind: 'folder', folder: home.blobs },
    encryption_key: secrets.encryption_key,
    previous_encryption_keys: secrets.previous_encryption_keys,
    // Brokers of this machine: asking is cheap, and somebody waits.
    brokers: { poll_interval_s: 1 },
    buildpacks: BUILDPACKS.map((name) => ({
      name: `${name}_buildpack`,
      file: join(projectRoot, 'buildpacks', name),
      stack: STACK,
    })),
    status: { host: '127.0.0.1', port: 0, ...statusLogin(plan) },
  };
}

function deaConfig({ plan, certificates, nats_url }: ConfigInputs, index: number): object {
  const { settings, home } = plan;
  return {
    base_dir: join(home.dea, String(index)),
    index,
    nats_servers: [nats_url],
    warden_socket: home.wardenSocket,
    ip: '127.0.0.1',
    ...toCloudController(plan),
    stacks: [STACK],
    docker: { allows_local_registries: settings.local_image_registries },
    volumes_folder: join(home.services, 'volume'),
    instance_identity: {
      ca_cert_file: certificates.instance_ca_file,
      ca_key_file: certificates.instance_ca_key_file,
      trusted_ca_files: [certificates.ca_file],
    },
    resources: {
      memory_mb: Math.floor(settings.memory_mb / settings.deas),
      disk_mb: Math.floor(settings.disk_mb / settings.deas),
    },
    status: { host: '127.0.0.1', port: 0, credentials: statusLogin(plan) },
  };
}

function wardenConfig({ plan, nats_url }: ConfigInputs): object {
  const { settings, home } = plan;
  return {
    name: settings.name,
    socket_path: home.wardenSocket,
    depot: home.warden,
    backend: settings.container_backend,
    stacks: { [STACK]: join(home.stacks, STACK, 'rootfs') },
    network_pool: settings.network_pool,
    uid_pool: { start: settings.uid_start },
    host_port_pool: settings.host_ports,
    disk_store: { size_mb: settings.disk_mb },
    reports: {
      nats_servers: [nats_url],
      status: { host: '127.0.0.1', port: 0, credentials: statusLogin(plan) },
    },
    ...(existsSync(HOST_CA_BUNDLE) && { trusted_ca_file: HOST_CA_BUNDLE }),
    log_level: settings.log_level,
  };
}

function loggregatorConfig(inputs: ConfigInputs): object {
  const { plan } = inputs;
  return {
    ...shared(inputs),
    listen: { host: '127.0.0.1', port: plan.ports.loggregator },
    hosts: { log_cache: `log-cache.${plan.settings.domain}`, log_stream: `log-stream.${plan.settings.domain}` },
    uaa: toUaa(plan),
    ...toCloudController(plan),
    store: { folder: plan.home.loggregator },
  };
}

function sshProxyConfig(inputs: ConfigInputs): object {
  const { plan } = inputs;
  const { settings, secrets, ssh_port } = plan;
  return {
    ...shared(inputs),
    listen: { host: settings.listen_host, port: ssh_port },
    host_key: secrets.ssh_host_key,
    uaa: { url: url(plan.ports.uaa), client_secret: secrets.uaa_clients['ssh-proxy'] },
    cc_url: toCloudController(plan).cc_url,
    log_level: settings.log_level,
  };
}

function collectorConfig(inputs: ConfigInputs): object {
  const { plan } = inputs;
  return {
    ...shared(inputs),
    listen: { host: '127.0.0.1', port: plan.ports.collector },
    login: statusLogin(plan),
    disks: [plan.home.folder],
  };
}

/** Who the cloud controller is to our brokers. */
export const brokersLogin = ({ secrets }: PlatformPlan): { user: string; password: string } => ({
  user: 'cloud-controller',
  password: secrets.brokers_password,
});

function brokersConfig(inputs: ConfigInputs): object {
  const { plan, database_url } = inputs;
  const { settings, home, secrets, ports } = plan;
  return {
    ...shared(inputs),
    listen: { host: '127.0.0.1', port: ports.brokers },
    login: brokersLogin(plan),
    database: { url: database_url('brokers') },
    credential_key: secrets.brokers_credential_key,
    address: servicesAddress(settings.network_pool),
    client_network: settings.network_pool,
    state_folder: home.services,
    cgroup: servicesCgroup(settings),
    blobstore: { kind: 'folder', folder: home.blobs },
    log_level: settings.log_level,
    ...Object.fromEntries(servicesOf(settings).map((name) => [name, serviceConfig(name, plan)])),
  };
}
