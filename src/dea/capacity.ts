import type { DeaConfig } from './config.ts';

export interface Amount {
  memory_mb: number;
  disk_mb: number;
}

/** What this DEA may give away, and to whom it has: instances, tasks and builds alike, by their guid. */
export class Capacity {
  readonly total: Amount;
  readonly #reserved = new Map<string, Amount>();

  constructor(total: Amount) {
    this.total = total;
  }

  static of(resources: DeaConfig['resources']): Capacity {
    return new Capacity({
      memory_mb: resources.memory_mb * resources.memory_overcommit_factor,
      disk_mb: resources.disk_mb * resources.disk_overcommit_factor,
    });
  }

  /** Takes `amount` for `holder`, or says what lacks; a holder that is known gets no second amount. */
  reserve(holder: string, amount: Amount): { ok: true } | { ok: false; lacks: 'memory' | 'disk' } {
    if (this.#reserved.has(holder)) return { ok: true };
    const available = this.available();
    if (amount.memory_mb > available.memory_mb) return { ok: false, lacks: 'memory' };
    if (amount.disk_mb > available.disk_mb) return { ok: false, lacks: 'disk' };
    this.#reserved.set(holder, amount);
    return { ok: true };
  }

  /** What would lack if nothing else were here. */
  neverHas(amount: Amount): 'memory' | 'disk' | undefined {
    if (amount.memory_mb > this.total.memory_mb) return 'memory';
    return amount.disk_mb > this.total.disk_mb ? 'disk' : undefined;
  }

  /** For what already runs after our own restart: it holds what it holds, even if less is configured now. */
  hold(holder: string, amount: Amount): void {
    this.#reserved.set(holder, amount);
  }

  release(holder: string): void {
    this.#reserved.delete(holder);
  }

  available(): Amount {
    const left = { ...this.total };
    for (const amount of this.#reserved.values()) {
      left.memory_mb -= amount.memory_mb;
      left.disk_mb -= amount.disk_mb;
    }
    return left;
  }
}
