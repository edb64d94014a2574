import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from '#testing/eventually.ts';
import type { FakeDea } from '#testing/fake-dea.ts';
import { TestApps } from '../apps-testing.ts';

const toOne = (guid: string | null): object => ({ data: guid === null ? null : { guid } });

describe('isolation segments', () => {
  let cc: TestApps;
  let shared: FakeDea;
  let isolated: FakeDea;
  let app: string;
  let web: string;
  const segments = new Map<string, string>();
  before(async () => {
    cc = await TestApps.start();
    shared = await cc.dea();
    isolated = await cc.dea({ isolation_segment: 'payments' });
    for (const name of ['payments', 'empty']) {
      const { guid } = await cc.admin.post('/v3/isolation_segments', { name });
      segments.set(name, guid);
      await cc.admin.post(`/v3/isolation_segments/${guid}/relationships/organizations`, {
        data: [{ guid: cc.organization_guid }],
      });
    }
    app = await cc.pushed('a');
    web = (await cc.admin.get(`/v3/apps/${app}/processes/web`)).guid;
  });
  after(async () => await cc[Symbol.asyncDispose]());

  const assign = async (what: 'space' | 'organization', name: string | null): Promise<void> => {
    const path =
      what === 'space'
        ? `/v3/spaces/${cc.space_guid}/relationships/isolation_segment`
        : `/v3/organizations/${cc.organization_guid}/relationships/default_isolation_segment`;
    const answer = await cc.admin.patch(path, toOne(name === null ? null : (segments.get(name) ?? 'none')));
    assert.equal(answer.status, 200, answer.text);
  };
  const restart = async (): Promise<void> => {
    assert.equal((await cc.admin.post(`/v3/apps/${app}/actions/restart`)).status, 200);
  };
  const statOf = async (): Promise<unknown[]> => {
    const stats = await cc.admin.get(`/v3/apps/${app}/processes/web/stats`);
    return ['state', 'isolation_segment', 'details'].map((field) => stats.at(`resources.0.${field}`));
  };
  const runsOn = async (dea: FakeDea, segment: string | null): Promise<void> => {
    await eventually('it runs there alone', async () => {
      const [here, elsewhere] = dea === shared ? [shared, isolated] : [isolated, shared];
      const [state, isolation_segment] = await statOf();
      const isThere = here.instancesOf(web).length === 1 && elsewhere.instancesOf(web).length === 0;
      return isThere && state === 'RUNNING' && isolation_segment === segment;
    });
  };

  it("decide where a space's apps, builds and tasks go, from the next start on", async () => {
    await runsOn(shared, null);
    await assign('space', 'payments');
    assert.deepEqual([(await statOf())[1], isolated.started.length], [null, 0]);
    await restart();
    await runsOn(isolated, 'payments');
    const staged = isolated.staged.length;
    await cc.stagedDroplet(app);
    assert.equal(isolated.staged.length, staged + 1);
    const { guid } = await cc.admin.post(`/v3/apps/${app}/tasks`, { command: 'x' });
    await eventually('the task is there', () => isolated.started.some((started) => started.droplet === guid));
  });

  it("come from the organization's default where the space has none", async () => {
    await assign('space', null);
    await restart();
    await runsOn(shared, null);
    await assign('organization', 'payments');
    await restart();
    await runsOn(isolated, 'payments');
  });

  it('tell the user when no DEA is in them', async () => {
    await assign('space', 'empty');
    const task = await cc.admin.post(`/v3/apps/${app}/tasks`, { command: 'x' });
    const failed = await eventually('the task failed', async () => {
      const found = await cc.admin.get(`/v3/tasks/${task.guid}`);
      return found.at('state') === 'FAILED' && found;
    });
    assert.equal(failed.at('result.failure_reason'), "no DEA is in the isolation segment 'empty'");
    await restart();
    await eventually('the app tells why', async () => {
      const [state, segment, details] = await statOf();
      return state === 'DOWN' && segment === 'empty' && details === "no DEA is in the isolation segment 'empty'";
    });
  });
});
