import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Access, Binding, Instance, JsonObject, Plan, Service } from '../service.ts';
import * as store from '../store.ts';
import type { Db } from '../tables.ts';
import { decideBind, decideProvision } from './decide.ts';
import { asyncRequired, badRequest, busy, gone, notThere, OsbError } from './errors.ts';
import type { BindRequest, ProvisionRequest, UpdateRequest } from './messages.ts';
import { OneAtATime } from './one-at-a-time.ts';

/** The answer to a mutation: how it stands, and what the platform is told. */
export interface Outcome {
  status: 200 | 201 | 202;
  body: JsonObject;
}

export interface BrokerOptions {
  db: Db;
  log: Log;
  service: Service;
}

type Slow = { verb: 'provision' | 'update' | 'deprovision'; input: JsonObject };

/**
 * One broker: what the Open Service Broker API asks of a service, over what the database knows of it. A row is there before
 * anything is made, and goes after everything is gone, so that a platform that asks again gets one instance and not two, and a
 * broker that died goes on. Errors of all verbs: OsbError.
 */
export class Broker implements AsyncDisposable {
  readonly service: Service;
  readonly #db: Db;
  readonly #log: Log;
  readonly #turns = new OneAtATime();

  constructor({ db, log, service }: BrokerOptions) {
    this.service = service;
    this.#db = db;
    this.#log = log;
  }

  /** Brings up what is there, and goes on with what was under way when an earlier process died. */
  async resume(): Promise<void> {
    const rows = await store.listInstances(this.#db, this.service.entry.name);
    await this.service.resume(rows.filter((row) => row.state === 'ready').map((row) => this.#instanceOf(row)));
    for (const row of rows) {
      if (row.operation_state !== 'in progress' || row.operation_verb === null) continue;
      this.#log.info({ instance: row.guid, verb: row.operation_verb }, 'operation taken up again');
      this.#goOn(row.guid, { verb: row.operation_verb, input: row.operation_input ?? {} });
    }
  }

  get catalog(): JsonObject {
    return { services: [{ ...this.service.entry, plans: this.service.plans }] };
  }

  async provision(guid: string, asked: ProvisionRequest, accepts_incomplete: boolean): Promise<Outcome> {
    const plan = this.#planOf(asked.service_id, asked.plan_id);
    const parameters = checkParameters(this.service.parameters.provision, asked.parameters);
    return await this.#turns.run(guid, async () => {
      const found = await this.#find(guid);
      const making = decideProvision(found, { plan_id: plan.id, parameters });
      switch (making.do) {
        case 'refuse':
          throw making.error;
        case 'confirm':
          return { status: 200, body: this.#shown({ guid, plan, parameters, details: found?.details ?? {} }) };
        case 'wait':
          return { status: 202, body: { operation: making.operation } };
        case 'make':
          break;
        default:
          making satisfies never;
      }
      const isSlow = this.service.isSlow?.('provision', parameters) === true;
      if (isSlow && !accepts_incomplete) throw asyncRequired();
      const context = asked.context ?? {};
      const row = { guid, service: this.service.entry.name, plan_id: plan.id, parameters, context };
      if (!found && !(await store.noteInstance(this.#db, row))) throw badRequest('the id belongs to another service');
      if (isSlow) return await this.#begin(guid, { verb: 'provision', input: {} });
      await this.#provisionNow({ guid, plan, parameters, details: found?.details ?? {} });
      return { status: 201, body: this.#shown({ guid, plan, parameters, details: {} }) };
    });
  }

  async update(guid: string, asked: UpdateRequest, accepts_incomplete: boolean): Promise<Outcome> {
    this.#checkService(asked.service_id);
    const parameters = checkParameters(this.service.parameters.update, asked.parameters);
    return await this.#turns.run(guid, async () => {
      const row = await this.#ready(guid);
      const plan = this.#planOf(asked.service_id, asked.plan_id ?? row.plan_id);
      if (asked.context) await store.changeInstance(this.#db, guid, { context: asked.context });
      if (plan.id === row.plan_id && isDeepStrictEqual(parameters, {})) return { status: 200, body: {} };
      const input = { plan_id: plan.id, parameters };
      if (this.service.isSlow?.('update', parameters) === true) {
        if (!accepts_incomplete) throw asyncRequired();
        return await this.#begin(guid, { verb: 'update', input });
      }
      await this.#updateNow(guid, input);
      return { status: 200, body: {} };
    });
  }

  async deprovision(guid: string, service_id: string, accepts_incomplete: boolean): Promise<Outcome> {
    this.#checkService(service_id);
    return await this.#turns.run(guid, async () => {
      const row = await this.#find(guid);
      if (!row) throw gone();
      if (row.operation_state === 'in progress') {
        if (row.operation_verb === 'deprovision') return { status: 202, body: { operation: row.operation ?? '' } };
        throw busy();
      }
      if (this.service.isSlow?.('deprovision', row.parameters) === true) {
        if (!accepts_incomplete) throw asyncRequired();
        await store.changeInstance(this.#db, guid, { state: 'ending' });
        return await this.#begin(guid, { verb: 'deprovision', input: {} });
      }
      await this.#deprovisionNow(guid);
      return { status: 200, body: {} };
    });
  }

  /** How the last operation that went on after its answer stands. */
  async lastOperation(guid: string, operation: string | undefined): Promise<JsonObject> {
    const row = await this.#find(guid);
    if (!row) throw gone();
    if (operation !== undefined && row.operation !== operation) throw badRequest('that is not its last operation');
    if (row.operation_state !== null) return { state: row.operation_state, description: row.operation_description };
    return { state: row.state === 'ready' ? 'succeeded' : 'in progress' };
  }

  async fetchInstance(guid: string): Promise<JsonObject> {
    const row = await this.#find(guid);
    if (!row || row.state === 'making') throw notThere('the instance');
    if (row.operation_state === 'in progress') throw busy();
    const instance = this.#instanceOf(row);
    const told = (await this.service.describe?.(instance)) ?? {};
    return {
      service_id: this.service.entry.id,
      plan_id: row.plan_id,
      parameters: { ...row.parameters, ...told },
      ...this.#shown(instance),
    };
  }

  async bind(instance_guid: string, guid: string, asked: BindRequest): Promise<Outcome> {
    this.#planOf(asked.service_id, asked.plan_id);
    const parameters = checkParameters(this.service.parameters.bind, asked.parameters);
    const app_guid = asked.bind_resource?.app_guid ?? asked.app_guid ?? null;
    return await this.#turns.run(instance_guid, async () => {
      const row = await this.#ready(instance_guid);
      const instance = this.#instanceOf(row);
      const found = await store.findBinding(this.#db, instance_guid, guid);
      const making = decideBind(found, { parameters, app_guid });
      switch (making.do) {
        case 'refuse':
          throw making.error;
        case 'confirm':
          return { status: 200, body: bodyOf(this.service.access(instance, { guid, parameters })) };
        case 'make':
          break;
        default:
          making satisfies never;
      }
      if (!found && !(await store.noteBinding(this.#db, { guid, instance_guid, parameters, app_guid })))
        throw badRequest('the id belongs to a binding of another instance');
      const access = await this.service.bind(instance, { guid, parameters });
      await store.bindingIsReady(this.#db, guid);
      this.#log.info({ service: this.service.entry.name, instance: instance_guid, binding: guid }, 'binding made');
      return { status: 201, body: bodyOf(access) };
    });
  }

  async unbind(instance_guid: string, guid: string, service_id: string): Promise<Outcome> {
    this.#checkService(service_id);
    return await this.#turns.run(instance_guid, async () => {
      const row = await this.#find(instance_guid);
      const binding = row && (await store.findBinding(this.#db, instance_guid, guid));
      if (!row || !binding) throw gone();
      if (row.operation_state === 'in progress') throw busy();
      await this.service.unbind(this.#instanceOf(row), bindingOf(binding));
      await store.forgetBinding(this.#db, guid);
      this.#log.info({ service: this.service.entry.name, instance: instance_guid, binding: guid }, 'binding ended');
      return { status: 200, body: {} };
    });
  }

  async fetchBinding(instance_guid: string, guid: string): Promise<JsonObject> {
    const row = await this.#find(instance_guid);
    const binding = row && (await store.findBinding(this.#db, instance_guid, guid));
    if (!row || binding?.state !== 'ready') throw notThere('the binding');
    const access = this.service.access(this.#instanceOf(row), bindingOf(binding));
    return { ...bodyOf(access), parameters: binding.parameters };
  }

  /** Waits for what is under way; what takes longer than that is taken up at the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turns.settled();
    await this.service[Symbol.asyncDispose]();
  }

  async #provisionNow(instance: Instance): Promise<void> {
    const details = await this.service.provision(instance);
    await store.changeInstance(this.#db, instance.guid, { details, state: 'ready' });
    this.#log.info({ service: this.service.entry.name, instance: instance.guid }, 'instance made');
  }

  async #updateNow(guid: string, input: { plan_id: string; parameters: JsonObject }): Promise<void> {
    const row = await this.#find(guid);
    if (!row) throw gone();
    const plan = this.#planOf(this.service.entry.id, input.plan_id);
    const instance = this.#instanceOf(row);
    const bindings = (await store.listBindings(this.#db, guid)).map(bindingOf);
    const details = await this.service.update({ instance, plan, parameters: input.parameters, bindings });
    await store.changeInstance(this.#db, guid, { plan_id: plan.id, details });
    this.#log.info({ service: this.service.entry.name, instance: guid }, 'instance changed');
  }

  async #deprovisionNow(guid: string): Promise<void> {
    const row = await this.#find(guid);
    if (!row) return;
    if (row.state !== 'ending') await store.changeInstance(this.#db, guid, { state: 'ending' });
    const instance = this.#instanceOf(row);
    // A platform ends bindings first; those of one that did not are not left behind.
    for (const binding of await store.listBindings(this.#db, guid)) {
      await this.service.unbind(instance, bindingOf(binding));
      await store.forgetBinding(this.#db, binding.guid);
    }
    await this.service.deprovision(instance);
    await store.forgetInstance(this.#db, guid);
    this.#log.info({ service: this.service.entry.name, instance: guid }, 'instance ended');
  }

  async #begin(guid: string, slow: Slow): Promise<Outcome> {
    const operation = randomUUID();
    await store.beginOperation(this.#db, guid, { operation, ...slow });
    // Its turn comes when the one that is being answered ends.
    this.#goOn(guid, slow);
    return { status: 202, body: { operation } };
  }

  #goOn(guid: string, slow: Slow): void {
    void this.#turns.run(guid, async () => {
      try {
        await this.#carryOut(guid, slow);
        await store.endOperation(this.#db, guid, { state: 'succeeded', description: '' });
      } catch (error) {
        this.#log.error({ instance: guid, verb: slow.verb, error: describeError(error) }, 'operation failed');
        const description =
          error instanceof OsbError ? error.message : 'the operation failed; see the log of the broker';
        await store.endOperation(this.#db, guid, { state: 'failed', description }).catch((fault: unknown) => {
          // It stays under way in the database, and is taken up at the next start.
          this.#log.error({ instance: guid, error: describeError(fault) }, 'end of an operation not noted');
        });
      }
    });
  }

  async #carryOut(guid: string, { verb, input }: Slow): Promise<void> {
    switch (verb) {
      case 'provision': {
        const row = await this.#find(guid);
        if (row) await this.#provisionNow(this.#instanceOf(row));
        return;
      }
      case 'update':
        await this.#updateNow(guid, input as { plan_id: string; parameters: JsonObject });
        return;
      case 'deprovision':
        await this.#deprovisionNow(guid);
        return;
      default:
        verb satisfies never;
    }
  }

  async #find(guid: string): Promise<store.InstanceRow | undefined> {
    return await store.findInstance(this.#db, this.service.entry.name, guid);
  }

  /** Errors: 404; 422 ConcurrencyError while something is done to it. */
  async #ready(guid: string): Promise<store.InstanceRow> {
    const row = await this.#find(guid);
    if (!row || row.state === 'making') throw notThere('the instance');
    if (row.state === 'ending' || row.operation_state === 'in progress') throw busy();
    return row;
  }

  #checkService(service_id: string): void {
    if (service_id !== this.service.entry.id) throw badRequest('there is no such service here');
  }

  #planOf(service_id: string, plan_id: string): Plan {
    this.#checkService(service_id);
    const plan = this.service.plans.find(({ id }) => id === plan_id);
    if (!plan) throw badRequest('there is no such plan here');
    return plan;
  }

  #instanceOf(row: store.InstanceRow): Instance {
    // A plan that the configuration no longer has keeps its instances going as the first one.
    const plan = this.service.plans.find(({ id }) => id === row.plan_id) ?? this.service.plans[0];
    if (!plan) throw new OsbError(500, 'the service has no plans');
    return { guid: row.guid, plan, parameters: row.parameters, details: row.details };
  }

  #shown(instance: Instance): JsonObject {
    const url = this.service.dashboardUrl?.(instance);
    return url === undefined ? {} : { dashboard_url: url };
  }
}

const bindingOf = ({ guid, parameters }: store.BindingRow): Binding => ({ guid, parameters });
const bodyOf = (access: Access): JsonObject => ({ ...access });

/** Errors: 400 with what is wrong, for the user to read. */
function checkParameters(schema: z.ZodType<JsonObject>, given: JsonObject | undefined): JsonObject {
  const checked = schema.safeParse(given ?? {});
  if (checked.success) return checked.data;
  const faults = checked.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  throw badRequest(`parameters: ${faults.join('; ')}`);
}
