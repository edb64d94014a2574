import { randomUUID } from 'node:crypto';
import { idOf } from './credentials.ts';
import type { OsbAnswer, TestBrokers } from './testing.ts';

/** A service of the brokers under test, as a platform uses it. */
export class TestService {
  readonly #brokers: TestBrokers;
  readonly #name: string;

  constructor(brokers: TestBrokers, name: string) {
    this.#brokers = brokers;
    this.#name = name;
  }

  ids(plan: string): { service_id: string; plan_id: string } {
    return { service_id: idOf(this.#name), plan_id: idOf(`${this.#name}/${plan}`) };
  }

  async create(guid: string, plan: string, parameters?: object): Promise<OsbAnswer> {
    const json = { ...this.ids(plan), organization_guid: 'org', space_guid: 'space', parameters };
    return await this.#brokers.ask(this.#path(guid), { method: 'PUT', json, query: { accepts_incomplete: 'true' } });
  }

  async update(guid: string, change: { plan?: string; parameters?: object }): Promise<OsbAnswer> {
    const ids = change.plan === undefined ? { service_id: idOf(this.#name) } : this.ids(change.plan);
    const json = { ...ids, parameters: change.parameters };
    return await this.#brokers.ask(this.#path(guid), { method: 'PATCH', json, query: { accepts_incomplete: 'true' } });
  }

  async fetch(guid: string): Promise<OsbAnswer> {
    return await this.#brokers.ask(this.#path(guid));
  }

  async delete(guid: string): Promise<OsbAnswer> {
    return await this.#brokers.ask(this.#path(guid), { method: 'DELETE', query: this.ids('small') });
  }

  async lastOperation(guid: string): Promise<OsbAnswer> {
    return await this.#brokers.ask(`${this.#path(guid)}/last_operation`);
  }

  async bind(guid: string, binding: string, parameters?: object): Promise<OsbAnswer> {
    const json = { ...this.ids('small'), bind_resource: { app_guid: 'an-app' }, parameters };
    return await this.#brokers.ask(this.#path(guid, binding), { method: 'PUT', json });
  }

  async unbind(guid: string, binding: string): Promise<OsbAnswer> {
    return await this.#brokers.ask(this.#path(guid, binding), { method: 'DELETE', query: this.ids('small') });
  }

  /** A new instance with a binding; their guids and the credentials. */
  async bound(plan: string): Promise<{ instance: string; binding: string; credentials: Record<string, string> }> {
    const [instance, binding] = [randomUUID(), randomUUID()];
    const made = await this.create(instance, plan);
    if (made.status !== 201) throw new Error(`not made: ${JSON.stringify(made)}`);
    const { status, body } = await this.bind(instance, binding);
    if (status !== 201) throw new Error(`not bound: ${JSON.stringify(body)}`);
    return { instance, binding, credentials: body['credentials'] as Record<string, string> };
  }

  #path(guid: string, binding?: string): string {
    const instance = `/${this.#name}/v2/service_instances/${guid}`;
    return binding === undefined ? instance : `${instance}/service_bindings/${binding}`;
  }
}
