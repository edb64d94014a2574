import type { PortMapping } from '#contracts/warden.ts';
import { WardenError } from '#http/warden-client.ts';
import {
  addContainerText,
  addPortText,
  type ContainerRules,
  type FirewallSettings,
  type FlowTable,
  InvalidRule,
  removeContainerText,
  replaceFlowsText,
  replaceRulesText,
  tableName,
  tableText,
} from './firewall.ts';
import { nft } from './nft.ts';

/** The table in the kernel, kept equal to what is held here. Every change is one transaction and takes about a millisecond. */
export class FirewallTable {
  readonly #settings: FirewallSettings;
  readonly #held = new Map<number, ContainerRules>();
  #between: FlowTable = { flows: [], networks: [] };

  constructor(settings: FirewallSettings) {
    this.#settings = settings;
  }

  /** Replaces whatever stands in the kernel; connections that are open stay open. */
  rebuild(containers: readonly ContainerRules[], between: FlowTable = this.#between): void {
    this.#held.clear();
    for (const container of containers) this.#held.set(container.slot, container);
    this.#between = between;
    nft(tableText(this.#settings, containers, between));
  }

  add(container: ContainerRules): void {
    nft(addContainerText(this.#settings, container));
    this.#held.set(container.slot, container);
  }

  addPort(container: ContainerRules, mapping: PortMapping): void {
    nft(addPortText(this.#settings, container.place, mapping));
    this.#held.set(container.slot, container);
  }

  replaceRules(container: ContainerRules): void {
    nft(replaceRulesText(this.#settings, container));
    this.#held.set(container.slot, container);
  }

  /** What passes between containers from now on; connections that are open stay open. */
  replaceFlows(between: FlowTable): void {
    const text = replaceFlowsText(this.#settings, this.#between, between);
    this.#between = between;
    if (text === '') return;
    try {
      nft(text);
    } catch {
      this.#remake();
    }
  }

  remove(slot: number): void {
    const container = this.#held.get(slot);
    if (!container) return;
    this.#held.delete(slot);
    const before = this.#between;
    const { container_ip } = container.place;
    this.#between = { ...before, flows: before.flows.filter(({ address }) => address !== container_ip) };
    try {
      nft(removeContainerText(this.#settings, container, { before, after: this.#between }));
    } catch {
      this.#remake();
    }
  }

  /** Somebody has meddled with the table: what should stand is known. */
  #remake(): void {
    this.rebuild([...this.#held.values()]);
  }

  /** Errors: WardenError invalid_request for a rule that makes no sense, before anything is changed. */
  check(container: ContainerRules): void {
    try {
      replaceRulesText(this.#settings, container);
    } catch (error) {
      if (error instanceof InvalidRule) throw new WardenError('invalid_request', error.message, { cause: error });
      throw error;
    }
  }

  drop(): void {
    nft(`add table inet ${tableName(this.#settings.name)}\ndelete table inet ${tableName(this.#settings.name)}`);
  }
}
