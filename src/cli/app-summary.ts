import { ApiError } from './errors.ts';
import type { Cf } from './context.ts';
import type { App, Deployment, Droplet, InstanceStats, Process, Route } from './resources.ts';
import { byteSize, friendlyDate, type Terminal } from './terminal.ts';

/** What `cf app` shows, and `cf push` at its end. */
export async function showAppSummary(
  cf: Cf,
  app: App,
  options: { with_command: boolean } = { with_command: false },
): Promise<void> {
  const { client, terminal } = cf;
  const [processes, routes, droplet, deployments] = await Promise.all([
    client.list<Process>(`/v3/apps/${app.guid}/processes`),
    client.list<Route>(`/v3/apps/${app.guid}/routes`),
    currentDroplet(cf, app),
    client.list<Deployment>('/v3/deployments', {
      app_guids: app.guid,
      status_values: 'ACTIVE',
      order_by: '-created_at',
      per_page: 1,
    }),
  ]);
  const isBuildpack = app.lifecycle.type !== 'docker';
  terminal.facts([
    ['name:', app.name],
    ['requested state:', app.state.toLowerCase()],
    ['routes:', routes.resources.map((route) => route.url).join(', ')],
    ['last uploaded:', droplet ? friendlyDate(droplet.created_at) : ''],
    ['stack:', droplet?.stack ?? ''],
    [isBuildpack ? 'buildpacks:' : 'docker image:', isBuildpack ? '' : (droplet?.image ?? '')],
  ]);
  if (isBuildpack && droplet?.buildpacks?.length) {
    const rows = droplet.buildpacks.map((used) => [
      used.name,
      used.version ?? '',
      used.detect_output ?? '',
      used.buildpack_name ?? '',
    ]);
    terminal.table([['name', 'version', 'detect output', 'buildpack name'], ...rows], '\t');
  }
  for (const process of sortProcesses(processes.resources)) {
    const stats = await client.get<{ resources: InstanceStats[] }>(`/v3/processes/${process.guid}/stats`);
    const command = options.with_command ? (await client.get<Process>(`/v3/processes/${process.guid}`)).command : null;
    showProcess(terminal, process, { instances: stats.resources, command });
  }
  const [deployment] = deployments.resources;
  if (deployment) showDeployment(terminal, app, deployment);
}

async function currentDroplet(cf: Cf, app: App): Promise<Droplet | undefined> {
  try {
    return await cf.client.get<Droplet>(`/v3/apps/${app.guid}/droplets/current`);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}

/** web first, then those that have instances, then by name. */
export function sortProcesses(processes: readonly Process[]): Process[] {
  const rank = (process: Process): number => (process.type === 'web' ? 0 : 1);
  return processes.toSorted((one, other) => rank(one) - rank(other) || one.type.localeCompare(other.type));
}

function showProcess(
  terminal: Terminal,
  process: Process,
  of: { instances: readonly InstanceStats[]; command: string | null },
): void {
  const healthy = of.instances.filter((instance) => instance.state === 'RUNNING').length;
  terminal.say();
  terminal.facts([
    ['type:', process.type],
    ['sidecars:', ''],
    ['instances:', `${healthy}/${process.instances}`],
    ['memory usage:', `${process.memory_in_mb}M`],
    ...(of.command === null || of.command === '' ? [] : ([['start command:', of.command]] as const)),
  ]);
  if (
    of.instances.length === 0 ||
    of.instances.every((instance) => instance.state === 'DOWN' && process.instances === 0)
  ) {
    terminal.say('There are no running instances of this process.');
    return;
  }
  terminal.table([
    ['', 'state', 'since', 'cpu entitlement', 'memory', 'disk', 'logging', 'details', 'ready'],
    ...of.instances.map((instance) => instanceRow(instance)),
  ]);
}

function instanceRow({
  index,
  state,
  uptime,
  usage,
  mem_quota,
  disk_quota,
  log_rate_limit,
  details,
  routable,
}: InstanceStats): string[] {
  const since = new Date(Date.now() - (uptime ?? 0) * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
  const limit = log_rate_limit === -1 ? 'unlimited' : `${byteSize(log_rate_limit ?? 0)}/s`;
  const entitlement = usage?.cpu_entitlement;
  return [
    `#${index}`,
    state.toLowerCase(),
    since,
    typeof entitlement === 'number' ? `${(entitlement * 100).toFixed(1)}%` : '',
    `${byteSize(usage?.mem ?? 0)} of ${byteSize(mem_quota ?? 0)}`,
    `${byteSize(usage?.disk ?? 0)} of ${byteSize(disk_quota ?? 0)}`,
    `${byteSize(usage?.log_rate ?? 0)}/s of ${limit}`,
    details ?? '',
    typeof routable === 'boolean' ? String(routable) : '-',
  ];
}

function showDeployment(terminal: Terminal, app: App, { status, strategy }: Deployment): void {
  terminal.say(`\nActive deployment with status ${status.reason}.`);
  terminal.facts([['strategy:', strategy.toLowerCase()]]);
  const error = status.details?.error;
  if (error) terminal.facts([['error:', error]]);
  if (strategy === 'canary' && status.reason === 'PAUSED') {
    terminal.say(
      `\nPlease run \`cf continue-deployment ${app.name}\` to promote the canary deployment, or \`cf cancel-deployment ${app.name}\` to rollback to the previous version.`,
    );
  }
}
