import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { WardenClient } from '#http/warden-client.ts';

/**
 * Destroys containers that bear this DEA's id and that it does not know. Only on the second pass in a row: one that is just
 * being created is known to warden before we hear of it.
 */
export class ContainerReaper implements Disposable {
  readonly #need: { warden: WardenClient; log: Log; dea: string; known: () => Set<string> };
  readonly #timer: Disposable;
  #suspects = new Set<string>();

  constructor(need: {
    warden: WardenClient;
    clock: Clock;
    log: Log;
    dea: string;
    known: () => Set<string>;
    reap_s: number;
  }) {
    this.#need = need;
    this.#timer = need.clock.every(need.reap_s * 1000, async () => await this.reap());
  }

  async reap(): Promise<void> {
    const { warden, log, dea, known } = this.#need;
    try {
      const containers = await warden.list();
      const ours = known();
      const unknown = containers.filter(({ handle, properties }) => properties['dea'] === dea && !ours.has(handle));
      for (const { handle } of unknown) {
        if (!this.#suspects.has(handle)) continue;
        log.warn({ handle }, 'unknown container destroyed');
        await warden.destroy(handle);
      }
      this.#suspects = new Set(unknown.map(({ handle }) => handle));
    } catch (error) {
      log.warn({ error: describeError(error) }, 'containers not reaped');
    }
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }
}
