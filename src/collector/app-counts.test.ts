import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dropletExited, type DropletExited } from '#contracts/dea.ts';
import { hm9000Start } from '#contracts/health-manager.ts';
import { envelopes, type Envelope } from '#contracts/loggregator.ts';
import { basicAuthHeader } from '#http/basic-auth.ts';
import { eventually } from '#testing/eventually.ts';
import { fullIn_s } from './forecast.ts';
import { login, TestCollector } from './testing.ts';

describe('crashes and restarts', () => {
  const exit: DropletExited = {
    cc_partition: 'default',
    dea: 'd',
    droplet: 'process-1',
    app: 'app-1',
    version: 'v',
    instance: 'i',
    index: 2,
    reason: 'CRASHED',
    exit_status: 1,
    exit_description: 'out of luck',
  };

  it('are counted for each instance and told to the app, and in all', async () => {
    await using collector = await TestCollector.start();
    const heard: Envelope[] = [];
    using _subscription = collector.bus.subscribe(envelopes('app-1'), ({ batch }) => void heard.push(...batch));
    await collector.bus.flush();
    const start = {
      message_id: 'm',
      version: 'v',
      droplet: 'process-1',
      instance_index: 2,
      reason: 'crashed',
    } as const;
    collector.bus.publish(dropletExited, exit);
    collector.bus.publish(hm9000Start, start);
    collector.bus.publish(dropletExited, { ...exit, reason: 'STOPPED' });
    collector.bus.publish(dropletExited, exit);
    collector.bus.publish(hm9000Start, { ...start, droplet: 'never heard of', reason: 'missing' });
    const totals = (name: string): (string | undefined)[] =>
      heard.filter(({ counter }) => counter?.name === name).map(({ counter }) => counter?.total);
    await eventually('told', () => totals('crashes').length === 2 && totals('restarts').length === 1);
    assert.deepEqual(totals('crashes'), ['1', '2']);
    assert.deepEqual(
      [heard[0]?.source_id, heard[0]?.instance_id, heard[0]?.tags],
      ['app-1', '2', { process_id: 'process-1', source_type: 'HEALTH' }],
    );
    await eventually('shown', async () => {
      const headers = { authorization: basicAuthHeader(login) };
      const text = await (await fetch(`${collector.url}/metrics`, { headers })).text();
      return (
        /^instance_crashes_total\{.*\} 2$/m.test(text) &&
        /^instance_restarts_total\{.*reason="crashed"\} 1$/m.test(text) &&
        /^instance_restarts_total\{.*reason="missing"\} 1$/m.test(text)
      );
    });
  });
});

describe('what fills up', () => {
  it('is listed, the first first, with nothing where nothing can be foreseen', async () => {
    await using collector = await TestCollector.start();
    const listed = await eventually('all three', async () => {
      const headers = { authorization: basicAuthHeader(login) };
      const answer = await fetch(`${collector.url}/forecasts`, { headers });
      const all = (await answer.json()) as { what: string; full_in_s: number | null }[];
      return all.length === 3 && all;
    });
    assert.deepEqual(listed.map(({ what }) => what).toSorted(), ['disk', 'inodes', 'memory']);
  });

  const minutes = (values: number[]): [number, number][] => values.map((value, n) => [n * 60_000, value]);
  const cases: [string, number[], number][] = [
    ['100 left, 10 less each minute', [150, 140, 130, 120, 110, 100], 600],
    ['with noise around the same line', [151, 139, 131, 119, 111, 99], 570],
    ['growing', [100, 110, 120, 130, 140], Infinity],
    ['standing', [100, 100, 100, 100, 100], Infinity],
    ['known too little', [150, 140, 130, 120], Infinity],
    ['years away', [1e9, 1e9 - 1, 1e9 - 2, 1e9 - 3, 1e9 - 4], Infinity],
  ];
  for (const [what, values, expected] of cases) {
    it(`is in ${expected} seconds: ${what}`, () => {
      const found = fullIn_s(minutes(values));
      assert.ok(found === expected || Math.abs(found - expected) < expected / 20, String(found));
    });
  }
});
