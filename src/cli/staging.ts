import { setTimeout as sleep } from 'node:timers/promises';
import type { Cf } from './context.ts';
import { ApiError, ApiUnreachable, CommandError } from './errors.ts';
import { tailLogs } from './log-tail.ts';
import type { App, Build, Deployment, InstanceStats, Package, Process } from './resources.ts';

/** Answers in a row that may be missing, each tried several times. */
const MAX_FAULTS = 15;

const minutes = (variable: string, fallback: number): number => {
  const given = Number(process.env[variable]);
  return Number.isFinite(given) && given > 0 ? given : fallback;
};

/** Waits growing from short to a second: the answer is often there at once, and a slow one is not hurried. */
async function* patiently(limit_minutes: number): AsyncGenerator<void> {
  const end = performance.now() + limit_minutes * 60_000;
  for (let delay = 100; performance.now() < end; delay = Math.min(delay * 1.3, 1000)) {
    yield;
    await sleep(delay);
  }
}

/** Stages a package with its output on the screen. Returns the droplet's guid. Errors: CommandError with the build's reason. */
export async function stage(cf: Cf, app: App, package_guid: string): Promise<string> {
  const { client, terminal } = cf;
  const stop = new AbortController();
  const { build, from_ns } = await createBuild(cf, package_guid);
  const showing = (async () => {
    for await (const line of tailLogs(cf, app.guid, { from_ns, signal: stop.signal })) {
      if (line.source.startsWith('STG')) terminal.say(`   ${line.text}`);
    }
  })().catch((error: unknown) =>
    terminal.warn(`Logs of staging cannot be shown: ${error instanceof Error ? error.message : String(error)}`),
  );
  try {
    const asking = new Asking(client);
    for await (const _ of patiently(minutes('CF_STAGING_TIMEOUT', 15))) {
      const now = await asking.get<Build>(`/v3/builds/${build.guid}`);
      if (now === undefined) continue;
      if (now.state === 'FAILED') throw new CommandError(`Error staging application: ${now.error ?? 'unknown'}`);
      if (now.state === 'STAGED' && now.droplet) return now.droplet.guid;
    }
    throw new CommandError('Staging timed out. Set CF_STAGING_TIMEOUT (minutes) to wait longer.');
  } finally {
    stop.abort();
    await showing;
  }
}

/** A build that an earlier push left behind is waited for: it ends by itself, and only one can be at a time. */
async function createBuild({ client, terminal }: Cf, package_guid: string): Promise<{ build: Build; from_ns: bigint }> {
  let hasWaited = false;
  for await (const _ of patiently(minutes('CF_STAGING_TIMEOUT', 15))) {
    const from_ns = BigInt(Date.now()) * 1_000_000n - 1_000_000_000n;
    try {
      const json = { package: { guid: package_guid } };
      const { body: build } = await client.call<Build>('/v3/builds', { method: 'POST', json });
      return { build, from_ns };
    } catch (error) {
      if (!(error instanceof ApiError) || !error.message.startsWith('Only one build can be STAGING')) throw error;
      if (!hasWaited) terminal.say('   Waiting for an earlier build of the app to end...');
      hasWaited = true;
    }
  }
  throw new CommandError('An earlier build of the app did not end. Set CF_STAGING_TIMEOUT (minutes) to wait longer.');
}

/** What is asked again anyway does not fail because the platform is away for a moment. */
class Asking {
  readonly #client: Cf['client'];
  #faults = 0;

  constructor(client: Cf['client']) {
    this.#client = client;
  }

  /** Undefined while there is no answer. Errors: those of the client, once it has gone on for long. */
  async get<T>(path: string): Promise<T | undefined> {
    try {
      const found = await this.#client.get<T>(path);
      this.#faults = 0;
      return found;
    } catch (error) {
      const isAway = error instanceof ApiUnreachable || (error instanceof ApiError && error.status >= 500);
      this.#faults += 1;
      if (!isAway || this.#faults > MAX_FAULTS) throw error;
      return undefined;
    }
  }
}

const crashed = (app: App): CommandError =>
  new CommandError(`Start unsuccessful\n\nTIP: use 'cf logs ${app.name} --recent' for more information`);

/** Waits until each process of a started app has an instance that runs. Errors: CommandError when all of one crash, or the time is over. */
export async function waitForStart(cf: Cf, app: App, options: { no_wait: boolean }): Promise<void> {
  const { client } = cf;
  const { resources } = await client.list<Process>(`/v3/apps/${app.guid}/processes`);
  const waited = resources.filter((process) => process.instances > 0 && (!options.no_wait || process.type === 'web'));
  for (const process of waited) await waitForProcess(cf, app, process.guid);
}

async function waitForProcess(cf: Cf, app: App, process_guid: string): Promise<void> {
  const asking = new Asking(cf.client);
  for await (const _ of patiently(minutes('CF_STARTUP_TIMEOUT', 5))) {
    const stats = await asking.get<{ resources: InstanceStats[] }>(`/v3/processes/${process_guid}/stats`);
    const resources = stats?.resources ?? [];
    if (resources.some((instance) => instance.state === 'RUNNING')) return;
    if (resources.length > 0 && resources.every((instance) => instance.state === 'CRASHED')) throw crashed(app);
  }
  throw new CommandError(
    `Start app timeout\n\nTIP: Application must be listening on the right port. Instead of hard coding the port, use the $PORT environment variable.\n\nUse 'cf logs ${app.name} --recent' for more information`,
  );
}

/** Deploys a droplet or revision beside what runs and waits for its end. Errors: CommandError with why it did not end well. */
export async function deploy(
  cf: Cf,
  app: App,
  options: {
    droplet?: string;
    revision?: string;
    strategy: string;
    max_in_flight?: number;
    /** Of a canary deployment, in percent. */
    steps?: readonly number[];
    no_wait: boolean;
  },
): Promise<void> {
  const { client } = cf;
  const { body: created } = await client.call<Deployment>('/v3/deployments', {
    method: 'POST',
    json: {
      strategy: options.strategy,
      ...(options.droplet !== undefined && { droplet: { guid: options.droplet } }),
      ...(options.revision !== undefined && { revision: { guid: options.revision } }),
      ...((options.max_in_flight !== undefined || options.steps) && { options: deploymentSettings(options) }),
      relationships: { app: { data: { guid: app.guid } } },
    },
  });
  await waitForDeployment(cf, app, { guid: created.guid, no_wait: options.no_wait });
}

function deploymentSettings(options: { max_in_flight?: number; steps?: readonly number[] }): object {
  return {
    ...(options.max_in_flight !== undefined && { max_in_flight: options.max_in_flight }),
    ...(options.steps && { canary: { steps: options.steps.map((weight) => ({ instance_weight: weight })) } }),
  };
}

/** Waits until a deployment has ended or pauses; one that takes too long is canceled. Errors: CommandError. */
export async function waitForDeployment(cf: Cf, app: App, of: { guid: string; no_wait: boolean }): Promise<void> {
  const { client } = cf;
  for await (const _ of patiently(minutes('CF_STARTUP_TIMEOUT', 5))) {
    const { status, new_processes } = await client.get<Deployment>(`/v3/deployments/${of.guid}`);
    if (status.value === 'FINALIZED') {
      if (status.reason === 'DEPLOYED') return;
      throw new CommandError(
        status.reason === 'SUPERSEDED' ? 'Deployment has been superseded' : 'Deployment has been canceled',
      );
    }
    if (status.reason === 'PAUSED') return;
    const [web] = new_processes;
    if (of.no_wait && web) return await waitForProcess(cf, app, web.guid);
  }
  await client.call(`/v3/deployments/${of.guid}/actions/cancel`, { method: 'POST' });
  throw new CommandError(
    `Start app timeout\n\nThe deployment was canceled.\n\nUse 'cf logs ${app.name} --recent' for more information`,
  );
}

/** The newest package of the app that can be staged. */
export async function newestPackage({ client }: Cf, app: App): Promise<Package | undefined> {
  const query = { app_guids: app.guid, states: 'READY', order_by: '-created_at', per_page: 1 };
  return (await client.get<{ resources: Package[] }>('/v3/packages', query)).resources[0];
}

export async function setDroplet({ client }: Cf, app: App, guid: string): Promise<void> {
  await client.call(`/v3/apps/${app.guid}/relationships/current_droplet`, {
    method: 'PATCH',
    json: { data: { guid } },
  });
}
