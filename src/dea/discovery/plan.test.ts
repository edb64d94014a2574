import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DiscoverableInstance, NetworkPolicy } from '#contracts/networking.ts';
import { discoverable, networkState, type OwnInstance } from './plan.ts';

const instance = (app: string, index: number, address: string, uris: string[] = []): DiscoverableInstance => ({
  app,
  instance: `${app}-${index}`,
  index,
  address,
  uris,
});
const own = (...given: Parameters<typeof instance>): OwnInstance => {
  const described = instance(...given);
  return { ...described, handle: described.instance, has_internal_routes: described.uris.length > 0 };
};
const policy = (source: string, destination: string): NetworkPolicy => ({
  source,
  destination,
  protocol: 'tcp',
  first_port: 8080,
  last_port: 8080,
});
const front = own('front', 0, '10.1.0.2');
const back = own('back', 0, '10.1.0.6', ['back.apps.internal']);
const elsewhere = {
  dea: 'other',
  network: '10.2.0.0/18',
  stale_after_s: 60,
  instances: [instance('back', 1, '10.2.0.2', ['back.apps.internal'])],
};

describe('the network between containers, as a DEA plans it', () => {
  it('tells others of instances with internal routes, and of both ends of policies, alone', () => {
    const all = [front, back, own('lonely', 0, '10.1.0.10')];
    const told = (policies: NetworkPolicy[]) => discoverable({ own: all, policies }).map(({ app }) => app);
    assert.deepEqual(told([]), ['back']);
    assert.deepEqual(told([policy('front', 'back')]), ['front', 'back']);
    assert.deepEqual(told([policy('elsewhere', 'lonely')]), ['back', 'lonely']);
  });

  it('gives each name the instances everywhere that it leads to', () => {
    const state = networkState({ network: '10.1.0.0/18', own: [front, back], others: [elsewhere], policies: [] });
    assert.deepEqual(state, {
      internal_routes: {
        'back.apps.internal': [
          { index: 1, address: '10.2.0.2' },
          { index: 0, address: '10.1.0.6' },
        ],
      },
      flows: [],
      networks: ['10.2.0.0/18'],
    });
  });

  it('opens what policies say, for the ends that are here', () => {
    const policies = [policy('front', 'back'), policy('nobody', 'front')];
    const { flows } = networkState({ network: '10.1.0.0/18', own: [front, back], others: [elsewhere], policies });
    assert.deepEqual(
      flows.map(({ handle, direction, peer }) => [handle, direction, peer]),
      [
        ['front-0', 'from', '10.2.0.2'],
        ['front-0', 'from', '10.1.0.6'],
        ['back-0', 'to', '10.1.0.2'],
      ],
    );
  });

  it('lets instances of one app reach each other by a policy with itself, and none itself', () => {
    const two = [own('app', 0, '10.1.0.2'), own('app', 1, '10.1.0.6')];
    const { flows } = networkState({
      network: '10.1.0.0/18',
      own: two,
      others: [],
      policies: [policy('app', 'app')],
    });
    assert.deepEqual(
      flows.map(({ handle, direction, peer }) => `${handle} ${direction} ${peer}`),
      ['app-0 from 10.1.0.6', 'app-1 from 10.1.0.2', 'app-0 to 10.1.0.6', 'app-1 to 10.1.0.2'],
    );
  });

  it('closes no network that this DEA shares with another', () => {
    const neighbour = { ...elsewhere, network: '10.1.0.0/18' };
    const { networks } = networkState({ network: '10.1.0.0/18', own: [], others: [neighbour], policies: [] });
    assert.deepEqual(networks, []);
  });
});
