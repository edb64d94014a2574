import { beatDigest } from '#contracts/beat-digest.ts';
import type { DesiredProcess } from '#contracts/cloud-controller.ts';
import type { DeaHeartbeat, DropletExited, HeartbeatInstance } from '#contracts/dea.ts';
import type { Random } from './random.ts';

export const BEAT_MS = 2000;

/** How the machines and the network between them behave; probabilities are per second, or per message. */
export interface Weather {
  crash: number;
  dea_death: number;
  dea_birth: number;
  dea_partition: number;
  /** Half of a partition: what it says is lost, or what it is told. */
  dea_half_open: number;
  /** Its process starts again and finds the containers that it had. */
  dea_restart: number;
  bus_outage: number;
  /** The health manager's own process stands still. */
  stall: number;
  evacuation: number;
  desired_change: number;
  loss: number;
  duplication: number;
  max_delay_ms: number;
}

export const CALM: Weather = {
  crash: 0,
  dea_death: 0,
  dea_birth: 0,
  dea_partition: 0,
  dea_half_open: 0,
  dea_restart: 0,
  bus_outage: 0,
  stall: 0,
  evacuation: 0,
  desired_change: 0,
  loss: 0,
  duplication: 0,
  max_delay_ms: 5,
};

interface Instance extends HeartbeatInstance {
  runsAt: number;
}

interface Dea {
  id: string;
  instances: Map<string, Instance>;
  nextBeatAt: number;
  /** Until when nothing goes in, or nothing comes out; a machine that is cut off has both. */
  deafUntil: number;
  muteUntil: number;
  isEvacuating: boolean;
  /** What its process has said: a new one begins anew. */
  said: { run: string; seq: number; digest: string; told: Map<string, string> | undefined };
}

export type Message =
  | { to: 'health manager'; kind: 'beat'; beat: DeaHeartbeat }
  | { to: 'health manager'; kind: 'exit'; exit: DropletExited }
  | { to: 'health manager'; kind: 'updated'; process: DesiredProcess }
  | { to: 'dea'; kind: 'beat please'; dea: string };

/**
 * The platform around the health manager, on a virtual clock: DEAs that beat, crash, die, are cut off and evacuate; a cloud
 * controller with desired state that places what it is asked for and refuses what its database does not bear out; a bus that
 * loses, doubles, delays and reorders. Simulators of *other* components that speak the contract; nothing of the health manager.
 */
export class World {
  now = 0;
  weather: Weather;
  busDownUntil = 0;
  readonly deas = new Map<string, Dea>();
  readonly desired = new Map<string, DesiredProcess>();
  readonly #random: Random;
  readonly #inFlight: { at: number; message: Message }[] = [];
  #names = 0;

  constructor(random: Random, weather: Weather, size: { deas: number; processes: number; max_instances: number }) {
    this.#random = random;
    this.weather = weather;
    for (let n = 0; n < size.deas; n++) this.bear();
    for (let n = 0; n < size.processes; n++) {
      const droplet = `p${n}`;
      const instances = random.between(1, size.max_instances);
      this.desired.set(droplet, {
        droplet,
        app: droplet,
        version: 'v1',
        instances,
        state: 'STARTED',
        package_state: 'STAGED',
      });
    }
  }

  get isBusUp(): boolean {
    return this.now >= this.busDownUntil;
  }

  /** Serving instances of one index, as they truly are. */
  serving(droplet: string, index: number): HeartbeatInstance[] {
    return [...this.deas.values()].flatMap((dea) =>
      [...dea.instances.values()].filter(
        (i) => i.droplet === droplet && i.index === index && (i.state === 'RUNNING' || i.state === 'EVACUATING'),
      ),
    );
  }

  *instances(): Generator<HeartbeatInstance & { dea: string }> {
    for (const dea of this.deas.values())
      for (const instance of dea.instances.values()) yield { ...instance, dea: dea.id };
  }

  /** One step of `ms`: the machines live, and what arrives meanwhile is returned. */
  step(ms: number): Message[] {
    this.now += ms;
    this.#strike(ms / 1000);
    for (const dea of this.deas.values()) this.#live(dea);
    const arrived = this.#inFlight.filter(({ at }) => at <= this.now);
    for (const one of arrived) this.#inFlight.splice(this.#inFlight.indexOf(one), 1);
    const heard: Message[] = [];
    for (const { message } of arrived) {
      if (message.to === 'health manager') heard.push(message);
      else if ((this.deas.get(message.dea)?.deafUntil ?? 0) <= this.now) this.#beat(message.dea, true);
    }
    return heard;
  }

  send(message: Message): void {
    if (!this.isBusUp || this.#random.chance(this.weather.loss)) return;
    const copies = this.#random.chance(this.weather.duplication) ? 2 : 1;
    for (let n = 0; n < copies; n++)
      this.#inFlight.push({ at: this.now + this.#random.between(0, this.weather.max_delay_ms), message });
  }

  /** The cloud controller, asked for a start: only what the database bears out, on a DEA that is there. */
  start(droplet: string, version: string, index: number): void {
    const wanted = this.desired.get(droplet);
    if (wanted?.state !== 'STARTED' || wanted.version !== version || index >= wanted.instances) return;
    const able = [...this.deas.values()].filter((one) => !one.isEvacuating && one.deafUntil <= this.now);
    const dea = this.#random.pick(able);
    if (!dea) return;
    // Nobody hears that it took the order: the next one gets it as well.
    if (dea.muteUntil > this.now) {
      const other = this.#random.pick(able.filter((one) => one.muteUntil <= this.now));
      if (other) this.#place(other, { droplet, version, index });
    }
    this.#place(dea, { droplet, version, index });
  }

  #place(dea: Dea, { droplet, version, index }: { droplet: string; version: string; index: number }): void {
    const instance = `i${this.#names++}`;
    dea.instances.set(instance, {
      cc_partition: 'default',
      droplet,
      app: droplet,
      version,
      instance,
      index,
      state: 'STARTING',
      state_timestamp: 0,
      routable: false,
      runsAt: this.now + this.#random.between(50, 1500),
    });
    this.#beat(dea.id, false);
  }

  /** The cloud controller, asked for a stop. */
  stop(instance_guid: string): void {
    for (const dea of this.deas.values()) {
      if (dea.deafUntil > this.now) continue;
      const held = dea.instances.get(instance_guid);
      if (held) this.#end(dea, held, 'STOPPED');
    }
  }

  bear(): void {
    const id = `d${this.#names++}`;
    this.deas.set(id, {
      id,
      instances: new Map(),
      nextBeatAt: this.now + this.#random.between(0, BEAT_MS),
      deafUntil: 0,
      muteUntil: 0,
      isEvacuating: false,
      said: this.#nothingSaid(),
    });
  }

  #nothingSaid(): Dea['said'] {
    return { run: `r${this.#names++}`, seq: 0, digest: '', told: undefined };
  }

  #strike(seconds: number): void {
    const { weather } = this;
    const strikes = (perSecond: number): boolean => this.#random.chance(perSecond * seconds);
    const someDea = (): Dea | undefined => this.#random.pick([...this.deas.values()]);
    if (strikes(weather.crash)) {
      const dea = someDea();
      const victim =
        dea &&
        this.#random.pick([...dea.instances.values()].filter((i) => i.state === 'RUNNING' || i.state === 'STARTING'));
      if (dea && victim) this.#end(dea, victim, 'CRASHED');
    }
    if (strikes(weather.dea_death) && this.deas.size > 1) this.deas.delete(someDea()?.id ?? '');
    if (strikes(weather.dea_birth)) this.bear();
    if (strikes(weather.dea_partition)) {
      const dea = someDea();
      if (dea) dea.muteUntil = dea.deafUntil = this.now + this.#random.between(500, 40_000);
    }
    if (strikes(weather.dea_half_open)) {
      const dea = someDea();
      const until = this.now + this.#random.between(500, 40_000);
      if (dea && this.#random.chance(0.5)) dea.muteUntil = until;
      else if (dea) dea.deafUntil = until;
    }
    if (strikes(weather.dea_restart)) {
      const dea = someDea();
      if (dea) dea.said = this.#nothingSaid();
    }
    if (strikes(weather.bus_outage)) this.busDownUntil = this.now + this.#random.between(500, 30_000);
    if (strikes(weather.evacuation) && this.deas.size > 1) this.#evacuate(someDea());
    if (strikes(weather.desired_change)) this.#change();
  }

  #evacuate(dea: Dea | undefined): void {
    if (!dea) return;
    dea.isEvacuating = true;
    for (const held of dea.instances.values()) if (held.state === 'RUNNING') held.state = 'EVACUATING';
    this.#beat(dea.id, false);
  }

  #change(): void {
    const process = this.#random.pick([...this.desired.values()]);
    if (!process) return;
    const changed = { ...process };
    if (this.#random.chance(0.2)) changed.state = process.state === 'STARTED' ? 'STOPPED' : 'STARTED';
    else changed.instances = this.#random.between(1, 6);
    this.desired.set(process.droplet, changed);
    this.send({ to: 'health manager', kind: 'updated', process: changed });
  }

  #live(dea: Dea): void {
    for (const held of dea.instances.values()) {
      if (held.state !== 'STARTING' || held.runsAt > this.now) continue;
      held.state = dea.isEvacuating ? 'EVACUATING' : 'RUNNING';
      held.routable = true;
      this.#beat(dea.id, false);
    }
    if (dea.isEvacuating && dea.instances.size === 0) this.deas.delete(dea.id);
    if (dea.nextBeatAt > this.now) return;
    dea.nextBeatAt = this.now + BEAT_MS;
    this.#beat(dea.id, false);
  }

  /** As a DEA does: what changed since it last spoke, all of it at first and when asked. */
  #beat(id: string, isAsked: boolean): void {
    const dea = this.deas.get(id);
    if (!dea) return;
    const droplets = [...dea.instances.values()].map(({ runsAt: _runsAt, ...held }) => ({ ...held }));
    const { said } = dea;
    const held = droplets.filter((one) => said.told?.get(one.instance) !== JSON.stringify(one));
    const gone = [...(said.told?.keys() ?? [])].filter((instance) => !dea.instances.has(instance));
    if (held.length + gone.length > 0 || said.told === undefined) {
      said.seq += 1;
      said.digest = beatDigest(droplets);
    }
    const { run, seq, digest } = said;
    const isFull = isAsked || said.told === undefined;
    const isChanged = held.length + gone.length > 0;
    const what = isFull ? { droplets } : isChanged ? { changes: { held, gone } } : {};
    said.told = new Map(droplets.map((one) => [one.instance, JSON.stringify(one)]));
    // One that is mute does not know it.
    if (dea.muteUntil > this.now) return;
    this.send({ to: 'health manager', kind: 'beat', beat: { dea: id, run, seq, digest, ...what } });
  }

  #end(dea: Dea, held: Instance, reason: 'CRASHED' | 'STOPPED'): void {
    dea.instances.delete(held.instance);
    if (dea.muteUntil > this.now) return;
    const { cc_partition, droplet, app, version, instance, index } = held;
    const exit = {
      cc_partition,
      dea: dea.id,
      droplet,
      app,
      version,
      instance,
      index,
      reason,
      exit_status: 1,
      exit_description: '',
    };
    this.send({ to: 'health manager', kind: 'exit', exit });
    this.#beat(dea.id, false);
  }
}
