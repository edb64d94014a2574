import type { AddressInfo } from 'node:net';
import ssh2 from 'ssh2';
import type { Bus } from '#bus/bus.ts';
import type { LogEmitter } from '#bus/log-emitter.ts';
import { splice } from '#http/upgrade.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { admit, NotAdmitted, parseUser, type Target } from './authenticate.ts';
import type { SshProxyConfig } from './config.ts';
import { Entrance } from './entrance.ts';
import { serveSession } from './session.ts';

/** Wrong codes on one connection before it is closed. */
const MAX_TRIES = 3;

export interface SshProxyOptions {
  config: SshProxyConfig;
  bus: Bus;
  emitter: LogEmitter;
  log: Log;
}

/** The SSH server that users come to: logs them in with one-time codes and leads their channels into the instance they named. */
export class SshProxy implements AsyncDisposable {
  readonly #options: SshProxyOptions;
  readonly #server: ssh2.Server;
  readonly #connections = new Set<ssh2.Connection>();
  #admitted = 0;
  #refused = 0;

  private constructor(options: SshProxyOptions) {
    this.#options = options;
    this.#server = new ssh2.Server(
      { hostKeys: [options.config.host_key], ident: 'ingot' },
      (connection, { ip, port }) => this.#serve(connection, `${ip}:${port}`),
    );
    this.#server.maxConnections = options.config.max_connections;
  }

  static async start(options: SshProxyOptions): Promise<SshProxy> {
    const proxy = new SshProxy(options);
    const { host, port } = options.config.listen;
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(port, host, resolve);
    });
    return proxy;
  }

  get address(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `${address}:${port}`;
  }

  get counts(): { connections: number; admitted: number; refused: number } {
    return { connections: this.#connections.size, admitted: this.#admitted, refused: this.#refused };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections) connection.end();
    await closed;
  }

  #serve(connection: ssh2.Connection, from: string): void {
    const { log, config } = this.#options;
    this.#connections.add(connection);
    let target: Target | undefined;
    let tries = 0;
    const late = setTimeout(() => connection.end(), config.login_timeout_s * 1000);
    connection.on('authentication', (context) => {
      if (context.method !== 'password') {
        context.reject(['password']);
        return;
      }
      void this.#logIn(context.username, context.password, from).then((admitted) => {
        target = admitted;
        if (admitted) context.accept();
        else {
          context.reject(['password']);
          if (++tries >= MAX_TRIES) connection.end();
        }
      });
    });
    connection.on('ready', () => {
      clearTimeout(late);
      if (target) this.#lead(connection, target, from);
    });
    connection.on('error', (error) => log.debug({ from, error: describeError(error) }, 'ssh connection failed'));
    connection.on('close', () => {
      clearTimeout(late);
      this.#connections.delete(connection);
    });
  }

  async #logIn(username: string, code: string, from: string): Promise<Target | undefined> {
    const { config, log } = this.#options;
    const target = parseUser(username);
    try {
      if (!target) throw new NotAdmitted('the user name is not cf:<process guid>/<index>');
      await admit(target, code, config);
      this.#admitted++;
      log.info({ from, ...target }, 'ssh admitted');
      return target;
    } catch (error) {
      this.#refused++;
      const level = error instanceof NotAdmitted ? 'info' : 'warn';
      log[level]({ from, username, error: describeError(error) }, 'ssh refused');
      return undefined;
    }
  }

  #lead(connection: ssh2.Connection, target: Target, from: string): void {
    const { bus, log } = this.#options;
    const entrance = new Entrance(bus, target);
    connection.on('session', (accept) => serveSession(accept(), { entrance, log }));
    connection.on('tcpip', (accept, reject, { destIP, destPort }) => {
      entrance.dial(destIP, destPort).then(
        (socket) => splice(accept(), socket),
        (error: unknown) => {
          log.info({ from, host: destIP, port: destPort, error: describeError(error) }, 'forwarding refused');
          reject();
        },
      );
    });
    void this.#tell(entrance, target, { connection, from });
  }

  /** In the app's own log, as Cloud Foundry has it. An instance that is not there has none. */
  async #tell(
    entrance: Entrance,
    target: Target,
    { connection, from }: { connection: ssh2.Connection; from: string },
  ): Promise<void> {
    const { emitter } = this.#options;
    const over = new Promise<void>((resolve) => connection.once('close', resolve));
    const found = await entrance.ticket().catch(() => undefined);
    if (!found) return;
    const origin = {
      source_id: found.app,
      instance_id: String(target.index),
      source_type: 'SSH',
      tags: found.tags,
      type: 'OUT',
    } as const;
    emitter.emit({ ...origin, payload: `Successful remote access by ${from}` });
    await over;
    emitter.emit({ ...origin, payload: `Remote access ended for ${from}` });
  }
}
