import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { AdminApi } from './admin-api.ts';
import { ensureCertificates } from './certificates.ts';
import { componentUrls, systemHosts, writeConfigs } from './configure.ts';
import { pushWelcome } from './first-app.ts';
import { projectRoot, type Home } from './home.ts';
import { editHostsFile } from './hosts-file.ts';
import { natsUrl, prepareNats } from './nats.ts';
import { isRouter, nodeFlags } from './node-flags.ts';
import { databaseUrl, ensureDatabases, preparePostgres } from './postgres.ts';
import { deaName, planPlatform, routerName, STACK, type PlatformPlan } from './plan.ts';
import { checkMachine, PreflightFailed } from './preflight.ts';
import { forgetProcess, isAlive, listProcesses, recordProcess } from './process-record.ts';
import { marketplaceNote, offerServices } from './marketplace.ts';
import type { Progress } from './progress.ts';
import type { RoleName } from './roles.ts';
import { addServicesAddress, removeServicesAddress } from './services-place.ts';
import { chosenBackend, isolates, servicesOf, type PlatformSettings } from './settings.ts';
import { ensureStack } from './stack.ts';
import { Supervisor, type ChildSpec } from './supervisor.ts';

const DATABASES = ['uaa', 'cloud_controller', 'brokers'];

/** Which roles share a process on one machine: few processes to save memory; the router alone, for its speed. */
const CONTROL_PLANE: readonly RoleName[] = [
  'uaa',
  'cloud-controller',
  'health-manager',
  'loggregator',
  'collector',
  'ssh-proxy',
];

const controlPlane = ({ settings }: PlatformPlan): readonly RoleName[] =>
  servicesOf(settings).length === 0 ? CONTROL_PLANE : [...CONTROL_PLANE, 'brokers'];

const NO_ISOLATION =
  'NO ISOLATION: apps run as plain processes of this machine and reach all that you reach. For development only.';

export interface UpSummary {
  api: string;
  app: string | undefined;
}

/** A started platform; `stop` ends it, apps and all, so that they come back at the next start. */
export interface RunningPlatform {
  summary: UpSummary;
  stop(): Promise<void>;
}

/**
 * Starts everything on this machine and waits until it serves.
 * Errors: PreflightFailed before anything was changed; ChildFailed with the end of the log of what did not start.
 */
export async function bringUp(options: {
  home: Home;
  chosen: Partial<PlatformSettings>;
  progress: Progress;
  log: Log;
}): Promise<RunningPlatform> {
  const { home, progress, log } = options;
  const backend = chosenBackend(home, options.chosen);
  checkMachine(home, { platform: process.platform, uid: process.getuid?.(), backend });
  if (backend === 'process') progress.say(NO_ISOLATION);
  refuseSecond(home);
  const supervisor = new Supervisor(home, log);
  home.prepare();
  await supervisor.endLeftovers();
  const plan = await planPlatform(home, options.chosen);
  const { settings, secrets, ports } = plan;
  recordProcess(home, 'supervisor', process.pid);
  const undo = new AsyncDisposableStack();
  undo.defer(() => forgetProcess(home, 'supervisor'));
  undo.defer(async () => await supervisor.stopAll());
  try {
    const certificates = await progress.phase('certificates', async () => ensureCertificates(home, settings.domain));
    if (isolates(settings))
      await progress.phase(
        'stack',
        async () =>
          await ensureStack({
            stacks_folder: home.stacks,
            name: STACK,
            onProgress: (line) => log.info({ line }, 'stack'),
          }),
        ({ built }) => (built ? 'built' : 'in place'),
      );
    const postgres = { folder: home.postgres, port: ports.postgres, password: secrets.postgres_password };
    const nats = { folder: home.nats, port: ports.nats, password: secrets.nats_password };
    await progress.phase('message bus and database', async () => {
      await Promise.all([
        supervisor.start(prepareNats(nats)),
        preparePostgres(postgres).then(async (spec) => await supervisor.start(spec)),
      ]);
      await ensureDatabases(postgres, DATABASES);
    });
    writeConfigs({ plan, certificates, nats_url: natsUrl(nats), database_url: (name) => databaseUrl(postgres, name) });
    if (settings.edit_hosts_file && isolates(settings)) {
      editHostsFile(settings.name, systemHosts(settings.domain));
      undo.defer(() => editHostsFile(settings.name, []));
    }
    if (isolates(settings)) {
      await addServicesAddress(settings);
      undo.defer(async () => await removeServicesAddress(settings));
    }
    await progress.phase('platform', async () => await startRoles(plan, supervisor));
    const { api } = componentUrls(plan);
    await progress.phase('API through the router', async () => await untilServes(plan, '/v3/info'));
    await progress.phase('marketplace', async () => await offerServices(plan), marketplaceNote);
    const app = await firstApp(plan, progress);
    const stop = async (): Promise<void> => await undo.disposeAsync();
    // Stopping the DEA by USR1 ends its instances with their grace first; the rest follows in reverse order.
    undo.defer(async () => await stopDeas(plan, supervisor));
    return { summary: { api, app }, stop };
  } catch (error) {
    await undo.disposeAsync();
    throw error;
  }
}

function refuseSecond(home: Home): void {
  const other = listProcesses(home).find((record) => record.name === 'supervisor');
  if (other && isAlive(other)) {
    throw new PreflightFailed(
      `The platform in ${home.folder} is up already (process ${other.pid}). See "ingot status"; stop it with "ingot down".`,
    );
  }
}

/**
 * glibc keeps what is freed for the thread that freed it; hashing passwords alone leaves 100 MB behind. Large blocks go back to
 * the kernel at once instead.
 */
const FRUGAL = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' };

function roleSpec(plan: PlatformPlan, name: string, roles: readonly string[], config: string): ChildSpec {
  const cache = join(plan.home.folder, 'compile-cache');
  mkdirSync(cache, { recursive: true });
  const ready = join(plan.home.run, `${name}.ready`);
  return {
    name,
    command: process.execPath,
    args: [...nodeFlags(name), join(projectRoot, 'src/platform/main.ts'), 'run', ...roles, '--config', config],
    env: { NODE_COMPILE_CACHE: cache, INGOT_READY_FILE: ready, ...(isRouter(name) ? {} : FRUGAL) },
    stop_signal: 'SIGTERM',
    isReady: async (pid) => existsSync(ready) && readFileSync(ready, 'utf8') === String(pid),
  };
}

async function startRoles(plan: PlatformPlan, supervisor: Supervisor): Promise<void> {
  const { config } = plan.home;
  const deas = Array.from({ length: plan.settings.deas }, (_, index) => deaName(index));
  const routers = Array.from({ length: plan.settings.routers }, (_, index) => routerName(index));
  await Promise.all([
    supervisor.start(roleSpec(plan, 'control', controlPlane(plan), config)),
    ...routers.map(
      async (name, index) =>
        await supervisor.start(roleSpec(plan, name, ['router'], index === 0 ? config : join(config, name))),
    ),
    supervisor.start(roleSpec(plan, 'warden', ['warden'], config)).then(async () => {
      await Promise.all(
        deas.map(
          async (name, index) =>
            await supervisor.start({
              ...roleSpec(plan, name, ['dea'], index === 0 ? config : join(config, name)),
              // It packs, unpacks and hashes while the router serves.
              nice: 5,
            }),
        ),
      );
    }),
  ]);
}

async function stopDeas(plan: PlatformPlan, supervisor: Supervisor): Promise<void> {
  await Promise.all(
    Array.from(
      { length: plan.settings.deas },
      async (_, index) => await supervisor.stop(deaName(index), 'SIGUSR1', 60_000),
    ),
  );
}

/** Waits until a path of the API answers 200 through the router. */
async function untilServes(plan: PlatformPlan, path: string): Promise<void> {
  const url = `http://${plan.settings.listen_host === '0.0.0.0' ? '127.0.0.1' : plan.settings.listen_host}:${plan.http_port}${path}`;
  let last = 'nothing';
  for (let tries = 0; tries < 600; tries++) {
    try {
      const response = await getThrough(url, `api.${plan.settings.domain}`);
      if (response === 200) return;
      last = String(response);
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    await sleep(50);
  }
  throw new AppError('api_silent', `the API did not answer through the router: ${last}. Logs: ${plan.home.logs}`);
}

async function getThrough(url: string, host: string): Promise<number> {
  const { request } = await import('node:http');
  return await new Promise((resolve, reject) => {
    request(url, { headers: { host }, timeout: 2000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .once('error', reject)
      .end();
  });
}

async function firstApp(plan: PlatformPlan, progress: Progress): Promise<string | undefined> {
  const { home, settings } = plan;
  const url = componentUrls(plan).app('welcome');
  if (existsSync(home.welcomed)) return settings.push_welcome ? url : undefined;
  if (Object.keys(settings.staging_env).length > 0) {
    const api = await AdminApi.logIn(plan);
    await api.patch('/v3/environment_variable_groups/staging', { var: settings.staging_env });
  }
  if (!settings.push_welcome) return undefined;
  await progress.phase('sample app "welcome" pushed', async () => await pushWelcome(plan));
  writeFileSync(home.welcomed, new Date().toISOString());
  return url;
}
