import { OsbBroker } from '#testing/osb-broker.ts';
import { TestApps } from './apps-testing.ts';
import type { Answer } from './testing.ts';

const to = (guid: string): { data: { guid: string } } => ({ data: { guid } });

/** A cloud controller under test with a broker, whose plans everybody may use, spoken to as the cf CLI does. */
export class TestServices implements AsyncDisposable {
  readonly cc: TestApps;
  readonly broker: OsbBroker;
  readonly #stack: AsyncDisposableStack;

  private constructor(cc: TestApps, broker: OsbBroker, stack: AsyncDisposableStack) {
    this.cc = cc;
    this.broker = broker;
    this.#stack = stack;
  }

  /** Brokers are polled and orphans deleted at a pace for tests, unless `change` says otherwise. */
  static async start(change: Record<string, unknown> = {}): Promise<TestServices> {
    await using stack = new AsyncDisposableStack();
    const brokers = { client_timeout_s: 20, poll_interval_s: 0.02, orphan_retry_s: 0.01 };
    const cc = stack.use(await TestApps.start({ brokers, jobs: { poll_interval_s: 0.02 }, ...change }));
    const broker = stack.use(await OsbBroker.start());
    const services = new TestServices(cc, broker, stack.move());
    const registered = await services.register('the-broker');
    if (registered.at('state') !== 'COMPLETE') throw new Error(registered.text);
    for (const name of ['small', 'large']) {
      const guid = await services.planGuid(name);
      await cc.admin.post(`/v3/service_plans/${guid}/visibility`, { type: 'public' });
    }
    return services;
  }

  /** The job that registers the broker, at its end. */
  async register(name: string, fields: object = {}): Promise<Answer> {
    const { url, username, password } = this.broker;
    const accepted = await this.cc.admin.post('/v3/service_brokers', {
      name,
      url,
      authentication: { type: 'basic', credentials: { username, password } },
      ...fields,
    });
    return await this.cc.admin.job(accepted);
  }

  async planGuid(name: string): Promise<string> {
    return (await this.cc.admin.get(`/v3/service_plans?names=${name}`)).string('resources.0.guid');
  }

  async request(name: string, fields: object = {}, plan = 'small'): Promise<Answer> {
    return await this.cc.admin.post('/v3/service_instances', {
      type: 'managed',
      name,
      relationships: { space: to(this.cc.space_guid), service_plan: to(await this.planGuid(plan)) },
      ...fields,
    });
  }

  /** The job that makes an instance, at its end. */
  async create(name: string, fields: object = {}, plan = 'small'): Promise<Answer> {
    return await this.cc.admin.job(await this.request(name, fields, plan));
  }

  async guidOf(name: string): Promise<string> {
    return (await this.cc.admin.get(`/v3/service_instances?names=${name}`)).string('resources.0.guid');
  }

  /** An instance that was made: its guid. */
  async instance(name: string, fields: object = {}): Promise<string> {
    const job = await this.create(name, fields);
    if (job.at('state') !== 'COMPLETE') throw new Error(job.text);
    return await this.guidOf(name);
  }

  async requestBind(instance_guid: string, app_guid: string, fields: object = {}): Promise<Answer> {
    return await this.cc.admin.post('/v3/service_credential_bindings', {
      type: 'app',
      relationships: { service_instance: to(instance_guid), app: to(app_guid) },
      ...fields,
    });
  }

  /** The job that binds, at its end. */
  async bind(instance_guid: string, app_guid: string, fields: object = {}): Promise<Answer> {
    return await this.cc.admin.job(await this.requestBind(instance_guid, app_guid, fields));
  }

  async createKey(instance_guid: string, name: string): Promise<Answer> {
    return await this.cc.admin.job(
      await this.cc.admin.post('/v3/service_credential_bindings', {
        type: 'key',
        name,
        relationships: { service_instance: to(instance_guid) },
      }),
    );
  }

  async deleted(path: string): Promise<Answer> {
    return await this.cc.admin.job(await this.cc.admin.delete(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
