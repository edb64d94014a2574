import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { z } from 'zod';
import {
  ATTACH_PROTOCOL,
  deaSshTicket,
  DIAL_PROTOCOL,
  FRAME,
  ShellRequest,
  type AttachRequest,
  type SshTicket,
  type SshTicketRequest,
} from '#contracts/attach.ts';
import type { Bus } from '#bus/bus.ts';
import { encodeFrame, FrameReader, framesOf } from '#http/frames.ts';
import { acceptUpgrade, refuseUpgrade, splice } from '#http/upgrade.ts';
import { WardenError, type WardenClient } from '#http/warden-client.ts';
import type { Clock } from '#kernel/clock.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { Cell } from './cell.ts';
import type { Instance } from './instance.ts';
import { logSource } from './instance-log.ts';
import { sessionArguments } from './launcher.ts';

export interface SshDoorOptions {
  bus: Bus;
  cell: Pick<Cell, 'instances'>;
  warden: WardenClient;
  clock: Clock;
  log: Log;
  dea: { id: string; ip: string };
  listen: { host?: string | undefined; port: number };
}

/** Nobody who was given one needs longer to come with it. */
const TICKET_LIFE_MS = 30_000;
const FIRST_FRAME_MS = 10_000;
const HOME = '/home/vcap';

/**
 * Where the SSH proxy enters instances (contracts/attach.ts): it asks for a ticket over NATS, which is for those of the platform
 * alone, and comes with it over HTTP, once, for one stream into one instance.
 */
export class SshDoor implements AsyncDisposable {
  readonly #options: SshDoorOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #tickets = new Map<string, { instance: Instance; until_ms: number }>();
  readonly #stack = new DisposableStack();

  private constructor(options: SshDoorOptions) {
    this.#options = options;
    this.#server = createServer((_request, response) => response.writeHead(404).end());
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('upgrade', (request, socket, head) => {
      if (head.length > 0) socket.unshift(head);
      // Node says Duplex; behind a listening socket it is one.
      void this.#enter(request, socket as Socket);
    });
    this.#stack.use(options.bus.reply(deaSshTicket, (asked) => this.#ticket(asked)));
    this.#stack.use(options.clock.every(TICKET_LIFE_MS, () => this.#forgetOld()));
  }

  static async open(options: SshDoorOptions): Promise<SshDoor> {
    const door = new SshDoor(options);
    await new Promise<void>((resolve, reject) => {
      door.#server.once('error', reject);
      door.#server.listen(options.listen.port, options.listen.host ?? options.dea.ip, resolve);
    });
    return door;
  }

  /** Ends all sessions: their other halves are with us. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stack.dispose();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Undefined, and so no answer, when such an instance is not here or has no container. */
  #ticket(asked: z.output<typeof SshTicketRequest>): SshTicket | undefined {
    const { cell, clock, dea, listen } = this.#options;
    const instance = cell.instances.find(({ start, state, record }) => {
      const isMeant = asked.instance === undefined || asked.instance === start.instance;
      const isThere = record.network !== undefined && state !== 'CRASHED' && state !== 'STOPPING';
      return (
        isMeant && isThere && start.kind === 'LRP' && start.droplet === asked.droplet && start.index === asked.index
      );
    });
    if (!instance) return undefined;
    const ticket = randomBytes(24).toString('base64url');
    this.#tickets.set(ticket, { instance, until_ms: clock.monotonic() + TICKET_LIFE_MS });
    const { start } = instance;
    const { port } = this.#server.address() as AddressInfo;
    const tags = { ...logSource(start, 'SSH').tags };
    return { dea: dea.id, instance: start.instance, app: start.app, tags, host: listen.host ?? dea.ip, port, ticket };
  }

  #forgetOld(): void {
    const now_ms = this.#options.clock.monotonic();
    for (const [ticket, { until_ms }] of this.#tickets) if (until_ms <= now_ms) this.#tickets.delete(ticket);
  }

  #redeem(authorization: string | undefined): Instance | undefined {
    const ticket = /^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? '';
    const held = this.#tickets.get(ticket);
    this.#tickets.delete(ticket);
    return held && held.until_ms > this.#options.clock.monotonic() ? held.instance : undefined;
  }

  async #enter(request: IncomingMessage, socket: Socket): Promise<void> {
    socket.on('error', () => socket.destroy());
    const instance = this.#redeem(request.headers.authorization);
    if (!instance) {
      refuseUpgrade(socket, 401, { error: { code: 'unauthorized', message: 'no such ticket' } });
      return;
    }
    const url = new URL(request.url ?? '/', 'http://dea');
    try {
      if (url.pathname === '/attach') await this.#attach(instance, socket);
      else if (url.pathname === '/dial') await this.#dial(instance, url.searchParams, socket);
      else refuseUpgrade(socket, 404, { error: { code: 'not_found', message: 'no such path' } });
    } catch (error) {
      const { code, message } =
        error instanceof WardenError ? error : { code: 'internal', message: 'the cell could not reach the container' };
      this.#options.log.info({ instance: instance.start.instance, error: describeError(error) }, 'entrance refused');
      // A stream of frames has begun only after a first frame was sent by the caller, who reads an answer of either form.
      if (url.pathname === '/attach') socket.end(encodeFrame(FRAME.error, { code, message }));
      else refuseUpgrade(socket, 502, { error: { code, message } });
    }
  }

  async #attach(instance: Instance, socket: Socket): Promise<void> {
    const { warden } = this.#options;
    acceptUpgrade(socket, ATTACH_PROTOCOL);
    const wanted = await firstFrame(socket);
    const inner = await warden.attach(instance.record.handle);
    inner.write(encodeFrame(FRAME.start, attachRequest(instance, wanted.request)));
    if (wanted.rest.length > 0) inner.write(wanted.rest);
    splice(socket, inner);
  }

  async #dial(instance: Instance, query: URLSearchParams, socket: Socket): Promise<void> {
    const target = { host: query.get('host') ?? '', port: Number(query.get('port')) };
    const inner = await this.#options.warden.dial(instance.record.handle, target);
    acceptUpgrade(socket, DIAL_PROTOCOL);
    splice(socket, inner);
  }
}

/** Errors: WardenError invalid_request. */
async function firstFrame(socket: Socket): Promise<{ request: z.output<typeof ShellRequest>; rest: Buffer }> {
  const reader = new FrameReader();
  const late = setTimeout(() => socket.destroy(), FIRST_FRAME_MS);
  try {
    for await (const { kind, payload } of framesOf(socket, reader)) {
      const request = kind === FRAME.start ? ShellRequest.safeParse(JSON.parse(payload.toString())) : undefined;
      if (!request?.success) break;
      return { request: request.data, rest: reader.rest };
    }
  } finally {
    clearTimeout(late);
  }
  throw new WardenError('invalid_request', 'the first frame says nothing that can be started');
}

/** As for the app's own processes, but at home in the folder above the app's, as Cloud Foundry has it. */
function attachRequest(instance: Instance, wanted: z.output<typeof ShellRequest>): AttachRequest {
  const env = new Map<string, string>();
  const set = (pair: string): void => {
    const at = pair.indexOf('=');
    env.set(pair.slice(0, at), pair.slice(at + 1));
  };
  for (const pair of instance.environment()) set(pair);
  for (const [name, value] of wanted.env) if (!/[=\0]/.test(name) && !value.includes('\0')) env.set(name, value);
  const image = instance.record.image?.config;
  if (!image) env.set('HOME', HOME);
  if (wanted.tty) env.set('TERM', wanted.tty.term);
  return {
    args: sessionArguments(wanted.what),
    env: [...env].map(([name, value]) => `${name}=${value}`),
    cwd: image ? image.WorkingDir || '/' : HOME,
    ...(image && { user: image.User || 'root' }),
    rlimits: { nofile: instance.start.limits.fds },
    ...(wanted.tty && { tty: { columns: wanted.tty.columns, rows: wanted.tty.rows } }),
  };
}
