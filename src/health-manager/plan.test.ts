import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { DesiredProcess } from '#contracts/cloud-controller.ts';
import {
  backoff_ms,
  planProcess,
  type ActualInstance,
  type IndexMemory,
  type PlanRules,
  type ProcessMemory,
} from './plan.ts';

const rules: PlanRules = {
  missing_grace_ms: 5_000,
  start_keep_alive_ms: 8_000,
  stop_keep_alive_ms: 10_000,
  duplicate_delay_ms: 30_000,
  duplicate_stagger_ms: 10_000,
  crashes_before_backoff: 3,
  first_backoff_ms: 30_000,
  max_backoff_ms: 960_000,
};
const NOW = 1_000_000;

const want = (instances: number, change: Partial<DesiredProcess> = {}): DesiredProcess => ({
  droplet: 'd',
  app: 'a',
  version: 'v2',
  instances,
  state: 'STARTED',
  package_state: 'STAGED',
  ...change,
});
const has = (index: number, change: Partial<ActualInstance> = {}): ActualInstance => ({
  instance: `i${index}`,
  dea: 'x',
  version: 'v2',
  index,
  state: 'RUNNING',
  since: 0,
  ...change,
});
const remember = (indices: Record<number, IndexMemory> = {}, change: Partial<ProcessMemory> = {}): ProcessMemory => ({
  indices: new Map(Object.entries(indices).map(([index, memory]) => [Number(index), memory])),
  version: 'v2',
  askedStopAt: new Map(),
  duplicateSince: new Map(),
  ...change,
});
const long = { missingSince: NOW - 60_000 };
const crashed = (count: number, ago: number): IndexMemory => ({
  crash: { count, at: NOW - ago },
  missingSince: NOW - ago,
});

interface Case {
  when: string;
  desired: DesiredProcess | undefined;
  actual?: ActualInstance[];
  memory?: ProcessMemory;
  expect: string[];
}
const cases: Case[] = [
  { when: 'all runs as desired', desired: want(2), actual: [has(0), has(1)], expect: [] },
  {
    when: 'an index has long been missing',
    desired: want(2),
    actual: [has(0)],
    memory: remember({ 1: long }),
    expect: ['start 1 missing'],
  },
  {
    when: 'an index has just gone missing',
    desired: want(2),
    actual: [has(0)],
    memory: remember({ 1: { missingSince: NOW - 100 } }),
    expect: [],
  },
  {
    when: 'an index was lost with its DEA',
    desired: want(2),
    actual: [has(0)],
    memory: remember({ 1: { missingSince: 0 } }),
    expect: ['start 1 missing'],
  },
  {
    when: 'a start was just asked for',
    desired: want(1),
    memory: remember({ 0: { ...long, askedStartAt: NOW - 1000 } }),
    expect: [],
  },
  {
    when: 'a start was asked for and came to nothing',
    desired: want(1),
    memory: remember({ 0: { ...long, askedStartAt: NOW - 9000 } }),
    expect: ['start 0 missing'],
  },
  {
    when: 'one of two crashed for the first time',
    desired: want(2),
    actual: [has(0)],
    memory: remember({ 1: crashed(1, 10) }),
    expect: ['start 1 crashed'],
  },
  {
    when: 'the third crash in a row',
    desired: want(2),
    actual: [has(0)],
    memory: remember({ 1: crashed(3, 10) }),
    expect: ['start 1 crashed'],
  },
  {
    when: 'the fourth crash is 29 s ago',
    desired: want(2),
    actual: [has(0)],
    memory: remember({ 1: crashed(4, 29_000) }),
    expect: [],
  },
  {
    when: 'the fourth crash is 30 s ago',
    desired: want(2),
    actual: [has(0)],
    memory: remember({ 1: crashed(4, 30_000) }),
    expect: ['start 1 crashed'],
  },
  {
    when: 'all crashed',
    desired: want(3),
    memory: remember({ 0: crashed(2, 10), 1: crashed(1, 10), 2: crashed(1, 10) }),
    expect: ['start 0 crashed'],
  },
  { when: 'an instance starts', desired: want(1), actual: [has(0, { state: 'STARTING' })], expect: [] },
  {
    when: 'an instance evacuates',
    desired: want(1),
    actual: [has(0, { state: 'EVACUATING' })],
    memory: remember({ 0: { missingSince: NOW } }),
    expect: ['start 0 evacuating'],
  },
  {
    when: 'the replacement of an evacuating one still starts',
    desired: want(1),
    actual: [has(0, { state: 'EVACUATING' }), has(0, { instance: 'n', state: 'STARTING' })],
    expect: [],
  },
  {
    when: 'the replacement of an evacuating one runs',
    desired: want(1),
    actual: [has(0, { state: 'EVACUATING' }), has(0, { instance: 'n' })],
    expect: ['stop i0 evacuated'],
  },
  { when: 'there is one too many', desired: want(1), actual: [has(0), has(1)], expect: ['stop i1 extra'] },
  {
    when: 'there is one too many and one missing',
    desired: want(2),
    actual: [has(0), has(2)],
    memory: remember({ 1: long }),
    expect: ['start 1 missing'],
  },
  {
    when: 'a stop was just asked for',
    desired: want(1),
    actual: [has(0), has(1)],
    memory: remember({}, { askedStopAt: new Map([['i1', NOW - 1000]]) }),
    expect: [],
  },
  {
    when: 'the process is stopped',
    desired: want(1, { state: 'STOPPED' }),
    actual: [has(0)],
    expect: ['stop i0 undesired'],
  },
  { when: 'the process is unknown', desired: undefined, actual: [has(0)], expect: ['stop i0 undesired'] },
  {
    when: 'only the old version runs and the new one is missing',
    desired: want(1),
    actual: [has(0, { version: 'v1' })],
    memory: remember({ 0: long }),
    expect: ['start 0 missing'],
  },
  {
    when: 'the new version starts beside the old',
    desired: want(1),
    actual: [has(0, { version: 'v1' }), has(0, { instance: 'n', state: 'STARTING' })],
    expect: [],
  },
  {
    when: 'the new version runs beside the old',
    desired: want(1),
    actual: [has(0, { version: 'v1' }), has(0, { instance: 'n' })],
    expect: ['stop i0 old version'],
  },
  {
    when: 'an index has had two for a moment',
    desired: want(1),
    actual: [has(0), has(0, { instance: 'n', since: 5 })],
    memory: remember({}, { duplicateSince: new Map([['n', NOW - 1000]]) }),
    expect: [],
  },
  {
    when: 'an index has had two for long',
    desired: want(1),
    actual: [has(0), has(0, { instance: 'n', since: 5 })],
    memory: remember({}, { duplicateSince: new Map([['n', NOW - 31_000]]) }),
    expect: ['stop n duplicate'],
  },
  {
    when: 'an index has had two for long, but a change of the DEA of one was missed',
    desired: want(1),
    actual: [has(0, { dea: 'doubtful' }), has(0, { instance: 'n', since: 5 })],
    memory: remember({}, { duplicateSince: new Map([['n', NOW - 31_000]]) }),
    expect: [],
  },
  {
    when: 'nobody wants what a DEA holds of which a change was missed',
    desired: undefined,
    actual: [has(0, { dea: 'doubtful' })],
    expect: ['stop i0 undesired'],
  },
  {
    when: 'of two on an index the older still starts',
    desired: want(1),
    actual: [has(0, { state: 'STARTING' }), has(0, { instance: 'n', since: 5 })],
    memory: remember({}, { duplicateSince: new Map([['i0', 0]]) }),
    expect: ['stop i0 duplicate'],
  },
  {
    when: 'the package is staged anew',
    desired: want(2, { package_state: 'PENDING' }),
    actual: [has(0)],
    memory: remember({ 1: long }),
    expect: [],
  },
  {
    when: 'what is remembered is of another version',
    desired: want(1),
    memory: remember({ 0: { missingSince: 0 } }, { version: 'v1' }),
    expect: [],
  },
];

const show = (c: Case, now = NOW): string[] =>
  planProcess({
    now,
    droplet: 'd',
    desired: c.desired,
    actual: c.actual ?? [],
    memory: c.memory ?? remember(),
    doubtful: new Set(['doubtful']),
    rules,
  }).steps.map((step) =>
    step.do === 'start' ? `start ${step.index} ${step.why}` : `stop ${step.instance} ${step.why}`,
  );

describe('the health manager plans', () => {
  for (const c of cases)
    it(`${c.expect.join(', ') || 'nothing'} when ${c.when}`, () => assert.deepEqual(show(c), c.expect));

  it('waits 0, 0, 0, 30, 60, 120, 240, 480, 960 and again 960 seconds after crashes in a row', () => {
    const waits = Array.from({ length: 10 }, (_, n) => backoff_ms(n + 1, rules) / 1000);
    assert.deepEqual(waits, [0, 0, 0, 30, 60, 120, 240, 480, 960, 960]);
  });

  const anInstance = fc.record({
    instance: fc.uuid(),
    dea: fc.constant('x'),
    version: fc.constantFrom('v1', 'v2'),
    index: fc.integer({ min: 0, max: 4 }),
    state: fc.constantFrom(
      'STARTING' as const,
      'RUNNING' as const,
      'EVACUATING' as const,
      'CRASHED' as const,
      'STOPPING' as const,
    ),
    since: fc.integer({ min: 0, max: NOW }),
  });

  it('never stops the last instance that serves a desired index', () => {
    fc.assert(
      fc.property(fc.array(anInstance, { maxLength: 12 }), fc.integer({ min: 1, max: 4 }), (actual, instances) => {
        const duplicateSince = new Map(actual.map((i) => [i.instance, 0]));
        const { steps } = planProcess({
          now: NOW,
          droplet: 'd',
          desired: want(instances),
          actual,
          memory: remember({}, { duplicateSince }),
          rules,
        });
        const stopped = new Set(steps.flatMap((step) => (step.do === 'stop' ? [step.instance] : [])));
        const serves = (i: ActualInstance): boolean => i.state === 'RUNNING' || i.state === 'EVACUATING';
        for (let index = 0; index < instances; index++) {
          const before = actual.filter((i) => i.index === index && serves(i));
          const left = before.filter((i) => !stopped.has(i.instance));
          assert.ok(before.length === 0 || left.length > 0, `index ${index} has nothing left`);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('never asks for starts and stops of one process in one round', () => {
    fc.assert(
      fc.property(fc.array(anInstance, { maxLength: 12 }), fc.integer({ min: 1, max: 4 }), (actual, instances) => {
        const memory = remember({ 0: long, 1: long, 2: long, 3: long });
        const { steps } = planProcess({ now: NOW, droplet: 'd', desired: want(instances), actual, memory, rules });
        assert.ok(new Set(steps.map((step) => step.do)).size <= 1);
      }),
      { numRuns: 3000 },
    );
  });
});
