import type { DeaAdvertise } from '#contracts/dea.ts';
import type { Clock } from '#kernel/clock.ts';
import { type Candidate, type Demand, place, type Placement } from './place.ts';

interface Entry {
  advert: DeaAdvertise & Candidate;
  heardAt_ms: number;
}

/**
 * The last advert of each DEA. A pick is debited at once, so that a burst of starts spreads before the DEAs have said anew
 * what they have left.
 */
export class AdvertPool {
  readonly #entries = new Map<string, Entry>();
  readonly #clock: Clock;
  readonly #timeout_ms: number;
  readonly #random: () => number;

  constructor(options: { clock: Clock; advertisement_timeout_s: number; random?: () => number }) {
    this.#clock = options.clock;
    this.#timeout_ms = options.advertisement_timeout_s * 1000;
    this.#random = options.random ?? Math.random;
  }

  hear(advert: DeaAdvertise): void {
    const { zone, isolation_segment } = advert.placement_properties;
    const entry = { ...structuredClone(advert), zone, isolation_segment };
    this.#entries.set(advert.id, { advert: entry, heardAt_ms: this.#clock.monotonic() });
  }

  forget(dea: string): void {
    this.#entries.delete(dea);
  }

  /** Whether the DEA advertised within the time-out. */
  isHeard(dea: string): boolean {
    const entry = this.#entries.get(dea);
    return entry !== undefined && this.#clock.monotonic() - entry.heardAt_ms <= this.#timeout_ms;
  }

  /** All DEAs that advertise. */
  get adverts(): readonly (DeaAdvertise & Candidate)[] {
    const oldest = this.#clock.monotonic() - this.#timeout_ms;
    for (const [id, entry] of this.#entries) if (entry.heardAt_ms < oldest) this.#entries.delete(id);
    return [...this.#entries.values()].map((entry) => entry.advert);
  }

  /** Picks a DEA that is none of `tried` and debits it. */
  take(demand: Demand, tried: ReadonlySet<string> = new Set()): Placement {
    const { adverts } = this;
    const candidates = tried.size === 0 ? adverts : adverts.filter((advert) => !tried.has(advert.id));
    if (candidates.length === 0 && tried.size > 0) return { refused: 'insufficient resources: every DEA refused' };
    const placement = place(candidates, demand, this.#random);
    if ('dea' in placement) this.#debit(placement.dea, demand);
    return placement;
  }

  #debit(dea: string, demand: Demand): void {
    const advert = this.#entries.get(dea)?.advert;
    if (!advert) return;
    advert.available_memory -= demand.memory_mb;
    advert.available_disk -= demand.disk_mb;
    advert.app_id_to_count[demand.droplet] = (advert.app_id_to_count[demand.droplet] ?? 0) + 1;
  }
}
