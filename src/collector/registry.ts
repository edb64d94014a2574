import type { ComponentAnnouncement } from '#contracts/collector.ts';
import type { Exposition } from '#http/exposition.ts';

/** What is known of one component: what it said of itself, and what was read of it last. */
export interface Component {
  announcement: ComponentAnnouncement;
  /** Monotonic ms of the last word from it. */
  heardAt_ms: number;
  /** Undefined until it was asked. */
  isHealthy?: boolean;
  varz?: Readonly<Record<string, unknown>>;
  exposition?: Exposition;
}

/** One row of `/components`. */
export interface ComponentView {
  type: string;
  index: number;
  host: string;
  uuid: string;
  /** Null until its health was asked for the first time. */
  healthy: boolean | null;
  pid: number;
  version: string;
  start: string;
  uptime_s: number;
  memory_bytes: number | null;
  cpu_s: number | null;
}

/** All components that were heard of and not yet forgotten, by uuid. */
export class Registry {
  readonly #components = new Map<string, Component>();

  get size(): number {
    return this.#components.size;
  }

  hear(announcement: ComponentAnnouncement, now_ms: number): void {
    const known = this.#components.get(announcement.uuid);
    if (known) {
      known.announcement = announcement;
      known.heardAt_ms = now_ms;
      return;
    }
    this.#components.set(announcement.uuid, { announcement, heardAt_ms: now_ms });
  }

  all(): Component[] {
    return [...this.#components.values()];
  }

  /**
   * Forgets who was silent for long, and at once who was replaced: another of the same type and index started later, and it
   * no longer answers. Returns the forgotten.
   */
  prune(now_ms: number, silence_ms: number): Component[] {
    const gone = this.all().filter(
      (component) => now_ms - component.heardAt_ms > silence_ms || this.#isReplaced(component),
    );
    for (const { announcement } of gone) this.#components.delete(announcement.uuid);
    return gone;
  }

  view(now_ms: number): ComponentView[] {
    return this.all()
      .map(({ announcement, isHealthy, varz }) => ({
        type: announcement.type,
        index: announcement.index,
        host: announcement.host,
        uuid: announcement.uuid,
        healthy: isHealthy ?? null,
        pid: announcement.pid,
        version: announcement.version,
        start: announcement.start,
        uptime_s: Math.max(0, Math.round((now_ms - Date.parse(announcement.start)) / 1000)),
        memory_bytes: numberOf(varz?.['mem_bytes']),
        cpu_s: numberOf(varz?.['cpu_s']),
      }))
      .sort((a, b) => a.type.localeCompare(b.type) || a.index - b.index || a.uuid.localeCompare(b.uuid));
  }

  #isReplaced({ announcement, isHealthy }: Component): boolean {
    if (isHealthy !== false) return false;
    const { type, index, start } = announcement;
    return this.all().some(
      (other) =>
        other.announcement.type === type &&
        other.announcement.index === index &&
        Date.parse(other.announcement.start) > Date.parse(start),
    );
  }
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
