import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { DeaAdvertise } from '#contracts/dea.ts';
import { systemClock } from '#kernel/clock.ts';
import { AdvertPool } from './advert-pool.ts';
import { type Candidate, type Demand, place } from './place.ts';

const dea = (id: string, change: Partial<Candidate> = {}): Candidate => ({
  id,
  zone: 'z1',
  stacks: ['cflinuxfs4'],
  available_memory: 1000,
  available_disk: 1000,
  app_id_to_count: {},
  ...change,
});
const demand: Demand = { droplet: 'p', stack: 'cflinuxfs4', memory_mb: 100, disk_mb: 100 };

describe('placement', () => {
  const cases: [string, Candidate[], Partial<Demand>, unknown][] = [
    ['says that there is no DEA', [], {}, { refused: 'insufficient resources: no DEA is available' }],
    ['says that no DEA has the stack', [dea('a')], { stack: 'x' }, { refused: "no DEA offers the stack 'x'" }],
    ['says that disk is lacking', [dea('a')], { disk_mb: 1001 }, { refused: 'insufficient resources: disk' }],
    ['says that memory is lacking', [dea('a')], { memory_mb: 1001 }, { refused: 'insufficient resources: memory' }],
    ['takes what just fits', [dea('a')], { memory_mb: 1000, disk_mb: 1000 }, { dea: 'a' }],
    ['spares DEAs that have the app', [dea('a', { app_id_to_count: { p: 1 } }), dea('b')], {}, { dea: 'b' }],
    [
      'counts none of those that are told to go',
      [dea('a', { app_id_to_count: { p: 2 }, available_memory: 900 }), dea('b', { app_id_to_count: { p: 1 } })],
      { leaving: new Map([['a', 2]]) },
      { dea: 'a' },
    ],
    [
      'takes DEAs of the isolation segment alone',
      [dea('a'), dea('b', { isolation_segment: 'Payments' }), dea('c', { isolation_segment: 'x' })],
      { isolation_segment: 'payments' },
      { dea: 'b' },
    ],
    [
      'leaves DEAs of a segment to it',
      [dea('a', { isolation_segment: 'x' })],
      {},
      { refused: 'no DEA is in the shared isolation segment' },
    ],
    [
      'says that the segment has no DEA',
      [dea('a'), dea('b', { isolation_segment: 'x' })],
      { isolation_segment: 'y' },
      { refused: "no DEA is in the isolation segment 'y'" },
    ],
    [
      'ignores other apps',
      [dea('a', { app_id_to_count: { q: 9 } }), dea('b', { app_id_to_count: { p: 1 } })],
      {},
      { dea: 'a' },
    ],
    [
      'spares the zone that has the app before the DEA',
      [dea('a', { app_id_to_count: { p: 1 } }), dea('b'), dea('c', { zone: 'z2', available_memory: 100 })],
      {},
      { dea: 'c' },
    ],
    [
      'goes where memory is, not where it fits barely',
      [dea('a', { available_memory: 100 }), dea('b', { available_memory: 900 })],
      {},
      { dea: 'b' },
    ],
  ];
  for (const [what, candidates, change, expected] of cases) {
    it(what, () => {
      assert.deepEqual(
        place(candidates, { ...demand, ...change }, () => 0.99),
        expected,
      );
    });
  }

  it('never picks a DEA without room, and always picks one when there is room', () => {
    const anyDea = fc.record({
      id: fc.uuid(),
      zone: fc.constantFrom('z1', 'z2', 'z3'),
      stacks: fc.constantFrom(['cflinuxfs4'], ['other'], ['other', 'cflinuxfs4']),
      available_memory: fc.integer({ min: 0, max: 300 }),
      available_disk: fc.integer({ min: 0, max: 300 }),
      app_id_to_count: fc.record({ p: fc.integer({ min: 0, max: 3 }) }),
    });
    fc.assert(
      fc.property(
        fc.array(anyDea, { maxLength: 12 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (candidates, random) => {
          const fits = (one: Candidate): boolean =>
            one.stacks.includes('cflinuxfs4') && one.available_memory >= 100 && one.available_disk >= 100;
          const placement = place(candidates, demand, () => random);
          if ('refused' in placement) return !candidates.some(fits);
          const picked = candidates.find((one) => one.id === placement.dea);
          return picked !== undefined && fits(picked);
        },
      ),
    );
  });
});

describe('the pool of adverts', () => {
  const advert = (id: string, change: Partial<DeaAdvertise> = {}): DeaAdvertise => ({
    id,
    ip: '127.0.0.1',
    version: '1',
    stacks: ['cflinuxfs4'],
    available_memory: 1000,
    available_disk: 10_000,
    app_id_to_count: {},
    placement_properties: { zone: 'z1' },
    ...change,
  });
  const pool = (now = { ms: 0 }): AdvertPool =>
    new AdvertPool({ clock: { ...systemClock, monotonic: () => now.ms }, advertisement_timeout_s: 10 });

  it('spreads a burst before the next adverts, and stops when all are full', () => {
    const adverts = pool();
    for (const id of ['a', 'b', 'c']) adverts.hear(advert(id));
    const picks = Array.from({ length: 31 }, () => adverts.take(demand));
    const counts = new Map<string, number>();
    for (const pick of picks) if ('dea' in pick) counts.set(pick.dea, (counts.get(pick.dea) ?? 0) + 1);
    assert.deepEqual([...counts.values()], [10, 10, 10]);
    assert.deepEqual(picks.at(-1), { refused: 'insufficient resources: memory' });
  });

  it('forgets who is silent or says goodbye, and passes over who was tried', () => {
    const now = { ms: 0 };
    const adverts = pool(now);
    adverts.hear(advert('a'));
    adverts.hear(advert('b'));
    assert.deepEqual(adverts.take(demand, new Set(['a'])), { dea: 'b' });
    assert.deepEqual(adverts.take(demand, new Set(['a', 'b'])), {
      refused: 'insufficient resources: every DEA refused',
    });
    adverts.forget('b');
    assert.deepEqual(adverts.take(demand), { dea: 'a' });
    now.ms = 10_001;
    assert.equal(adverts.isHeard('a'), false);
    assert.deepEqual(adverts.take(demand), { refused: 'insufficient resources: no DEA is available' });
  });

  it("leaves the caller's advert alone", () => {
    const adverts = pool();
    const said = advert('a');
    adverts.hear(said);
    adverts.take(demand);
    assert.equal(said.available_memory, 1000);
  });
});
