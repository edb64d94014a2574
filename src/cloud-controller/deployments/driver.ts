import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { type Aftermath, requireDroplet, startedWith, startedAs } from '../apps/lifecycle.ts';
import { lockApp } from '../apps/store.ts';
import { deleteProcesses, processesOfApp, updateProcess } from '../processes/store.ts';
import type { Dispatcher } from '../runtime/dispatcher.ts';
import type { InstanceTracker } from '../runtime/instance-tracker.ts';
import type { Db, Trx } from '../tables.ts';
import type { DeploymentReason, DeploymentRow, ProcessRow } from '../tables-apps.ts';
import { type DeploymentStep, planDeployment, type WebProcess } from './plan.ts';

export interface DeploymentDriverOptions {
  db: Db;
  dispatcher: Dispatcher;
  tracker: InstanceTracker;
  clock: Clock;
  log: Log;
  interval_s: number;
}

interface Effects extends Pick<Aftermath, 'gone' | 'stop' | 'start'> {
  stopIndices: { process: ProcessRow; indices: number[] }[];
}

/**
 * Leads every deployment to its end, a step per round. The steps are in the database: of several cloud controllers each round
 * one takes a deployment, and one that dies leaves nothing but a step to be told by the health manager.
 */
export class DeploymentDriver implements AsyncDisposable {
  readonly #options: DeploymentDriverOptions;
  readonly #rounds: Disposable;
  #round: Promise<void> = Promise.resolve();

  constructor(options: DeploymentDriverOptions) {
    this.#options = options;
    this.#rounds = options.clock.every(options.interval_s * 1000, async () => {
      this.#round = this.#driveAll();
      await this.#round;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#rounds[Symbol.dispose]();
    await this.#round;
  }

  async #driveAll(): Promise<void> {
    const { db, log } = this.#options;
    try {
      const active = await db
        .selectFrom('deployments')
        .select('guid')
        .where('status_value', '=', 'ACTIVE')
        .where('status_reason', 'in', ['DEPLOYING', 'CANCELING'])
        .orderBy('id')
        .execute();
      for (const { guid } of active) await this.#drive(guid);
    } catch (error) {
      log.warn({ error: describeError(error) }, 'deployments not driven');
    }
  }

  async #drive(guid: string): Promise<void> {
    const effects = await this.#options.db.transaction().execute(async (trx) => {
      const deployment = await trx
        .selectFrom('deployments')
        .selectAll()
        .where('guid', '=', guid)
        .where('status_value', '=', 'ACTIVE')
        .forUpdate()
        .skipLocked()
        .executeTakeFirst();
      return deployment ? await this.#step(trx, deployment) : undefined;
    });
    if (!effects) return;
    const { dispatcher } = this.#options;
    for (const process of effects.stop) dispatcher.stopVersion(process);
    for (const process of effects.gone) dispatcher.stopGone(process);
    for (const { process, indices } of effects.stopIndices) dispatcher.stopIndices(process, indices);
    dispatcher.startMissing(effects.start);
  }

  async #step(trx: Trx, deployment: DeploymentRow): Promise<Effects> {
    const { clock, log } = this.#options;
    const effects: Effects = { gone: [], stop: [], start: [], stopIndices: [] };
    await lockApp(trx, deployment.app_guid);
    const webs = (await processesOfApp(trx, deployment.app_guid)).filter((process) => process.type === 'web');
    const fresh = webs.find((process) => process.guid === deployment.new_process_guid);
    if (!fresh) {
      await endDeployment(trx, deployment.guid, 'CANCELED', 'the new process is gone');
      return effects;
    }
    const { status_reason } = deployment;
    const steps = planDeployment({
      ...deployment,
      reason: status_reason === 'CANCELING' ? 'CANCELING' : 'DEPLOYING',
      new_process: this.#observe(fresh),
      old_processes: webs.filter((process) => process !== fresh).map((process) => this.#observe(process)),
      canceling_for_s: (clock.now() - deployment.status_changed_at.getTime()) / 1000,
    });
    await this.#noteHealth(trx, deployment, { fresh, isMoving: steps.length > 0 });
    for (const step of steps) {
      log.info({ deployment: deployment.guid, app: deployment.app_guid, ...step }, 'deployment steps');
      await this.#carryOut(trx, { deployment, webs, step }, effects);
    }
    return effects;
  }

  #observe(process: ProcessRow): WebProcess {
    const states = this.#options.tracker.indexStates(process);
    const healthy = states.filter(({ state, routable }) => state === 'RUNNING' && routable).length;
    return { guid: process.guid, instances: process.instances, healthy };
  }

  /** What the user reads of a deployment that does not move. */
  async #noteHealth(
    trx: Trx,
    deployment: DeploymentRow,
    { fresh, isMoving }: { fresh: ProcessRow; isMoving: boolean },
  ): Promise<void> {
    const troubled = this.#options.tracker
      .indexStates(fresh)
      .find(({ state, details }) => (state === 'CRASHED' || state === 'DOWN') && details !== null);
    const error = troubled?.details ?? null;
    if (!isMoving && error === deployment.error) return;
    await trx
      .updateTable('deployments')
      .set({ error, ...(isMoving && { last_healthy_at: sql<Date>`now()` }), updated_at: sql<Date>`now()` })
      .where('guid', '=', deployment.guid)
      .execute();
  }

  async #carryOut(
    trx: Trx,
    { deployment, webs, step }: { deployment: DeploymentRow; webs: readonly ProcessRow[]; step: DeploymentStep },
    effects: Effects,
  ): Promise<void> {
    switch (step.do) {
      case 'scale': {
        const before = webs.find((process) => process.guid === step.process_guid);
        const after = await updateProcess(trx, step.process_guid, { instances: step.instances });
        const taken = Math.max(0, (before?.instances ?? 0) - step.instances);
        const indices = Array.from({ length: taken }, (_, at) => step.instances + at);
        if (indices.length > 0) effects.stopIndices.push({ process: after, indices });
        effects.start.push(after.guid);
        return;
      }
      case 'pause':
        await setReason(trx, deployment.guid, 'PAUSED');
        return;
      case 'finish': {
        const old = webs.filter((process) => process.guid !== deployment.new_process_guid);
        effects.gone.push(
          ...(await deleteProcesses(
            trx,
            old.map(({ guid }) => guid),
          )),
        );
        await restartOthers(trx, deployment, effects);
        await endDeployment(trx, deployment.guid, 'DEPLOYED', null);
        return;
      }
      case 'revert': {
        const others = webs.filter((process) => process.guid !== step.to);
        effects.gone.push(
          ...(await deleteProcesses(
            trx,
            others.map(({ guid }) => guid),
          )),
        );
        await endDeployment(trx, deployment.guid, 'CANCELED', null);
        return;
      }
      default:
        step satisfies never;
    }
  }
}

/** Processes of other types than web are no part of the roll: they restart with the new droplet at its end. */
async function restartOthers(trx: Trx, deployment: DeploymentRow, effects: Effects): Promise<void> {
  const app = await trx
    .selectFrom('apps')
    .selectAll()
    .where('guid', '=', deployment.app_guid)
    .executeTakeFirstOrThrow();
  const droplet = await requireDroplet(trx, app);
  const from = { droplet, ...(await startedWith(trx, app.guid)) };
  for (const process of await processesOfApp(trx, app.guid)) {
    if (process.type === 'web' || process.state !== 'STARTED') continue;
    effects.stop.push({ guid: process.guid, version: process.version });
    const as = startedAs(app, process, from);
    const { revision_guid } = deployment;
    await updateProcess(trx, process.guid, { version: randomUUID(), started_as: JSON.stringify(as), revision_guid });
    effects.start.push(process.guid);
  }
}

export async function setReason(trx: Db, guid: string, status_reason: DeploymentReason): Promise<void> {
  await trx
    .updateTable('deployments')
    .set({ status_reason, status_changed_at: sql<Date>`now()`, updated_at: sql<Date>`now()` })
    .where('guid', '=', guid)
    .execute();
}

export async function endDeployment(
  trx: Db,
  guid: string,
  status_reason: 'DEPLOYED' | 'CANCELED' | 'SUPERSEDED',
  error: string | null,
): Promise<void> {
  await trx
    .updateTable('deployments')
    .set({
      status_value: 'FINALIZED',
      status_reason,
      error,
      status_changed_at: sql<Date>`now()`,
      updated_at: sql<Date>`now()`,
    })
    .where('guid', '=', guid)
    .execute();
}
