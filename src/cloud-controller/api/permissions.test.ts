import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Answer, TestCloudController, type TestUser } from '../testing.ts';
import { ENDPOINT_PERMISSIONS } from './endpoint-permissions.ts';
import { answerFor, CALLERS, type CallerKind } from './permissions-page.ts';
import { giveRoles, makeWorld, type World } from './permissions-world.ts';

const READ = ['cloud_controller.read'];
const SCOPES: Partial<Record<CallerKind, string[]>> = {
  admin: ['cloud_controller.admin', ...READ, 'cloud_controller.write'],
  admin_read_only: ['cloud_controller.admin_read_only'],
  global_auditor: ['cloud_controller.global_auditor'],
};

describe('permissions', () => {
  let cc: TestCloudController;
  const users = new Map<CallerKind, TestUser>();
  before(async () => {
    cc = await TestCloudController.start();
    for (const caller of CALLERS) {
      if (caller !== 'no_token') users.set(caller, await cc.user(caller, SCOPES[caller]));
    }
    // Who was never seen has no row to give roles to.
    for (const user of users.values()) await user.get('/v3/organizations');
    await cc.admin.patch('/v3/feature_flags/route_sharing', { enabled: true });
    await cc.admin.patch('/v3/feature_flags/service_instance_sharing', { enabled: true });
  });
  after(async () => await cc[Symbol.asyncDispose]());

  it('are told for every endpoint there is, and for none that is not', async () => {
    const response = await fetch(`${cc.url}/openapi.json`);
    const document = new Answer(response, await response.text());
    const paths = Object.entries(document.at('paths') as Record<string, object>);
    const endpoints = paths.flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
    );
    assert.ok(endpoints.length > 150);
    assert.deepEqual(endpoints.sort(), Object.keys(ENDPOINT_PERMISSIONS).sort());
  });

  it('hold at every endpoint for every role', async () => {
    const faults: string[] = [];
    let world: World | undefined;
    let seen = 0;
    for (const [endpoint, rule] of Object.entries(ENDPOINT_PERMISSIONS)) {
      for (const caller of CALLERS) {
        if (!world) {
          world = await makeWorld(cc);
          await giveRoles(cc, world, users);
        }
        const expected = answerFor(endpoint, rule, caller);
        const { method, path, body, headers } = world.requestFor(endpoint);
        const user = users.get(caller);
        const answer = user ? await user.request(method, path, body, headers) : await anonymous(method, path);
        seen += 1;
        if (!isAs(answer, expected, endpoint)) {
          faults.push(
            `${endpoint} for ${caller}: ${expected} expected, not ${answer.status} ${answer.text.slice(0, 150)}`,
          );
        }
        // What was deleted, moved or taken away must be there for the next.
        if (expected === 'ok' && (method === 'DELETE' || endpoint.includes('relationships/'))) world = undefined;
      }
    }
    assert.ok(seen > 2000, `only ${seen} calls`);
    assert.deepEqual(faults, []);
  });

  const anonymous = async (method: string, path: string): Promise<Answer> => {
    const response = await fetch(cc.url + path, { method });
    return new Answer(response, await response.text());
  };
});

/** `ok` is any answer that is not about who asks: a refusal of the body, too, or that no instance runs and no bits are there. */
function isAs(answer: Answer, expected: ReturnType<typeof answerFor>, endpoint: string): boolean {
  if (expected !== 'ok') return answer.status === expected;
  if (answer.status === 404) return /instances|download/.test(endpoint);
  return answer.status < 500 && answer.status !== 401 && answer.status !== 403;
}
