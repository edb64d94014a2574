import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig, parseConfig } from '#kernel/config.ts';
import { CloudControllerConfig } from './config.ts';

describe("the cloud controller's configuration", () => {
  const example = resolve(import.meta.dirname, '../../config/cloud-controller.example.yml');

  it('is what the example shows, defaults included', () => {
    const shown = loadConfig(CloudControllerConfig, example);
    const { defaults, limits, jobs, placement } = shown;
    // What the example says of these groups is what holds when they are left out.
    const bare = CloudControllerConfig.parse({
      ...shown,
      defaults: undefined,
      limits: undefined,
      jobs: undefined,
      placement: undefined,
    });
    assert.deepEqual({ defaults, limits, jobs, placement }, { ...pick(bare) });
  });

  it('refuses keys that it does not know', () => {
    assert.throws(() => parseConfig(CloudControllerConfig, 'colour: red', 'test'), /colour/);
  });
});

function pick({ defaults, limits, jobs, placement }: CloudControllerConfig): object {
  return { defaults, limits, jobs, placement };
}
