import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type DeploymentState, type DeploymentStep, planDeployment, targetOf } from './plan.ts';

const state = (change: Partial<DeploymentState> = {}): DeploymentState => ({
  reason: 'DEPLOYING',
  strategy: 'rolling',
  max_in_flight: 1,
  web_instances: 3,
  canary_step: 1,
  canary_steps: [],
  original_web_instances: 3,
  new_process: { guid: 'new', instances: 1, healthy: 1 },
  old_processes: [{ guid: 'old', instances: 3, healthy: 3 }],
  canceling_for_s: 0,
  ...change,
});
const scale = (process_guid: string, instances: number): DeploymentStep => ({ do: 'scale', process_guid, instances });
const fresh = (instances: number, healthy = instances): DeploymentState['new_process'] => ({
  guid: 'new',
  instances,
  healthy,
});
const old = (guid: string, instances: number): DeploymentState['new_process'] => ({
  guid,
  instances,
  healthy: instances,
});

describe('a deployment plans', () => {
  const cases: [string, Partial<DeploymentState>, DeploymentStep[]][] = [
    ['nothing while a new instance is on its way', { new_process: fresh(2, 1) }, []],
    ['one old away for each new that serves, and one more new', {}, [scale('old', 2), scale('new', 2)]],
    ['as many new ones at once as may be', { max_in_flight: 5 }, [scale('old', 2), scale('new', 3)]],
    [
      'the oldest away first',
      { new_process: fresh(2), old_processes: [old('older', 1), old('old', 2)] },
      [scale('older', 0), scale('old', 1), scale('new', 3)],
    ],
    ['the end once all new ones serve', { new_process: fresh(3), old_processes: [old('old', 1)] }, [{ do: 'finish' }]],
    ['a pause once the canary serves', { strategy: 'canary' }, [{ do: 'pause' }]],
    ['on beyond the last step of a canary', { strategy: 'canary', canary_step: 2 }, [scale('old', 2), scale('new', 2)]],
    [
      'to the weight of its step',
      {
        strategy: 'canary',
        web_instances: 10,
        canary_steps: [{ instance_weight: 30 }],
        old_processes: [old('old', 10)],
      },
      [scale('old', 9), scale('new', 2)],
    ],
    [
      'to run the old version in full before the new one goes',
      { reason: 'CANCELING', old_processes: [old('old', 1)] },
      [scale('old', 3)],
    ],
    ['the new version away once the old one serves', { reason: 'CANCELING' }, [{ do: 'revert', to: 'old' }]],
    [
      'the new version away also when the old one does not come back',
      { reason: 'CANCELING', old_processes: [{ guid: 'old', instances: 3, healthy: 0 }], canceling_for_s: 61 },
      [{ do: 'revert', to: 'old' }],
    ],
  ];
  for (const [what, change, expected] of cases) {
    it(what, () => {
      assert.deepEqual(planDeployment(state(change)), expected);
    });
  }

  it('never fewer serving instances than wanted, never more than max_in_flight on their way, and always an end', () => {
    const arbitrary = fc.record({
      web_instances: fc.integer({ min: 1, max: 12 }),
      max_in_flight: fc.integer({ min: 1, max: 5 }),
      strategy: fc.constantFrom('rolling' as const, 'canary' as const),
      canary_steps: fc
        .array(fc.integer({ min: 1, max: 100 }), { maxLength: 3 })
        .map((weights) => weights.sort((a, b) => a - b).map((instance_weight) => ({ instance_weight }))),
    });
    fc.assert(
      fc.property(arbitrary, (given) => {
        let at = state({ ...given, old_processes: [old('old', given.web_instances)] });
        at = { ...at, new_process: fresh(Math.min(at.max_in_flight, targetOf(at))) };
        for (let round = 0; round < 200; round++) {
          for (const step of planDeployment(at)) {
            if (step.do === 'finish') return at.new_process.healthy === at.web_instances;
            if (step.do === 'pause') at = { ...at, canary_step: at.canary_step + 1 };
            if (step.do !== 'scale') continue;
            if (step.process_guid === 'new')
              at = { ...at, new_process: { ...at.new_process, instances: step.instances } };
            else at = { ...at, old_processes: [old('old', step.instances)] };
          }
          const { new_process: made, old_processes } = at;
          const serving = made.healthy + (old_processes[0]?.instances ?? 0);
          if (serving < at.web_instances || made.instances - made.healthy > at.max_in_flight) return false;
          at = { ...at, new_process: fresh(made.instances) };
        }
        return false;
      }),
    );
  });
});
