import type { Socket } from 'node:net';
import { json } from 'node:stream/consumers';
import { z } from 'zod';
import { ATTACH_PROTOCOL, AttachError, deaSshTicket, DIAL_PROTOCOL, type SshTicket } from '#contracts/attach.ts';
import { NoReply, type Bus } from '#bus/bus.ts';
import { requestUpgrade } from '#http/upgrade.ts';
import { AppError } from '#kernel/errors.ts';
import type { Target } from './authenticate.ts';

const TICKET_TIMEOUT_MS = 3_000;
const Refusal = z.object({ error: AttachError });

/** The instance is nowhere, or its DEA let nobody in; the message is for the user. */
export class NoEntrance extends AppError {
  constructor(message: string, options?: ErrorOptions) {
    super('no_entrance', message, options);
  }
}

/**
 * The way into the one instance that a connection is for. Found by asking all DEAs; once found it stays that very instance: what comes in
 * its place after a crash is another, which the user has not chosen.
 */
export class Entrance {
  readonly #bus: Bus;
  readonly #target: Target;
  #instance: string | undefined;

  constructor(bus: Bus, target: Target) {
    this.#bus = bus;
    this.#target = target;
  }

  /** Errors: NoEntrance. */
  async ticket(): Promise<SshTicket> {
    const { process_guid: droplet, index } = this.#target;
    const instance = this.#instance === undefined ? {} : { instance: this.#instance };
    try {
      const found = await this.#bus.request(
        deaSshTicket,
        { droplet, index, ...instance },
        { timeout_ms: TICKET_TIMEOUT_MS },
      );
      this.#instance = found.instance;
      return found;
    } catch (error) {
      if (error instanceof NoReply) throw new NoEntrance(`instance ${index} is not running`, { cause: error });
      throw new NoEntrance('the platform cannot find instances at the moment', { cause: error });
    }
  }

  /** A stream of frames, whose first is ours to send. Errors: NoEntrance. */
  async attach(): Promise<Socket> {
    return await this.#open('/attach', ATTACH_PROTOCOL);
  }

  /** Bytes to and from a port that the container reaches. Errors: NoEntrance. */
  async dial(host: string, port: number): Promise<Socket> {
    const query = new URLSearchParams({ host, port: String(port) });
    return await this.#open(`/dial?${query.toString()}`, DIAL_PROTOCOL);
  }

  async #open(path: string, protocol: string): Promise<Socket> {
    const { host, port, ticket } = await this.ticket();
    const headers = { authorization: `Bearer ${ticket}` };
    const upgraded = await requestUpgrade({ host, port, path, headers }, protocol).catch((error: unknown) => {
      throw new NoEntrance('the cell of the instance cannot be reached', { cause: error });
    });
    if (upgraded.ok) return upgraded.socket;
    const refusal = Refusal.safeParse(await json(upgraded.response).catch(() => undefined));
    throw new NoEntrance(refusal.success ? refusal.data.error.message : 'the cell of the instance refused');
  }
}
