import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import ssh2, { type ClientChannel } from 'ssh2';
import { describeError } from '#kernel/errors.ts';
import { CommandError } from './errors.ts';

export interface SshTarget {
  host: string;
  port: number;
  /** Of the host key, as the API told it: MD5 or SHA-1 in hex with colons, SHA-256 in hex or base64. Undefined: not checked. */
  fingerprint: string | undefined;
  username: string;
  passcode: string;
}

export interface Forward {
  bind_address: string;
  bind_port: number;
  host: string;
  port: number;
}

const KEEPALIVE_MS = 30_000;
/** What a command ends with that was killed, or whose end was not told. */
const NO_STATUS = 255;

/** A connection to the SSH proxy. Errors: CommandError in the words of the public CLI. */
export class SshConnection implements AsyncDisposable {
  readonly #client: ssh2.Client;
  readonly #servers: Server[] = [];
  readonly closed: Promise<void>;

  private constructor(client: ssh2.Client) {
    this.#client = client;
    this.closed = new Promise((resolve) => client.once('close', () => resolve()));
  }

  static async open(target: SshTarget): Promise<SshConnection> {
    const client = new ssh2.Client();
    let seen: string | undefined;
    const hostVerifier = (key: Buffer): boolean => {
      seen = fingerprints(key)[0];
      return target.fingerprint === undefined || fingerprints(key).includes(target.fingerprint);
    };
    const { host, port, username, passcode: password } = target;
    client.connect({ host, port, username, password, hostVerifier, keepaliveInterval: KEEPALIVE_MS });
    try {
      await once(client, 'ready');
    } catch (error) {
      client.destroy();
      throw new CommandError(`Error opening SSH connection: ${reason(error, target, seen)}`, { cause: error });
    }
    client.on('error', () => {}); // its end is what tells
    return new SshConnection(client);
  }

  /** Listens, and leads each connection to where the container reaches. */
  async forward(spec: Forward): Promise<void> {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      const { remoteAddress = '127.0.0.1', remotePort = 0 } = socket;
      this.#client.forwardOut(remoteAddress, remotePort, spec.host, spec.port, (error, channel) => {
        if (error) {
          process.stdout.write(`connect to ${spec.host}:${spec.port} failed: ${error.message}\n`);
          socket.destroy();
          return;
        }
        channel.on('error', () => socket.destroy());
        channel.on('close', () => socket.destroy());
        socket.pipe(channel).pipe(socket);
      });
    });
    server.listen(spec.bind_port, spec.bind_address);
    try {
      await once(server, 'listening');
    } catch (error) {
      throw new CommandError(`listen on ${spec.bind_address}:${spec.bind_port}: ${describeError(error)}`, {
        cause: error,
      });
    }
    this.#servers.push(server);
  }

  /** Runs a command, or a shell, on this process's own streams. Gives the exit status. */
  async run(command: string | undefined, options: { tty: boolean }): Promise<number> {
    const { stdin, stdout, stderr } = process;
    const size = (): { cols: number; rows: number } => ({ cols: stdout.columns ?? 80, rows: stdout.rows ?? 43 });
    const pty = { ...size(), width: 0, height: 0, term: process.env['TERM'] ?? 'xterm' };
    const channel = await this.#start(command, options.tty ? pty : undefined);
    const resize = (): void => channel.setWindow(size().rows, size().cols, 0, 0);
    if (options.tty) {
      if (stdin.isTTY) stdin.setRawMode(true);
      stdout.on('resize', resize);
    }
    try {
      channel.pipe(stdout, { end: false });
      channel.stderr.pipe(stderr, { end: false });
      stdin.pipe(channel);
      // Not by 'exit': what ends at once tells it in the very bytes that say it began, before anybody listens.
      const [status] = (await once(channel, 'close')) as [number | null | undefined];
      return status ?? NO_STATUS;
    } finally {
      stdin.unpipe(channel);
      stdin.pause();
      if (options.tty && stdin.isTTY) stdin.setRawMode(false);
      stdout.off('resize', resize);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) server.close();
    this.#client.end();
    await this.closed;
  }

  async #start(command: string | undefined, pty: ssh2.PseudoTtyOptions | undefined): Promise<ClientChannel> {
    return await new Promise((resolve, reject) => {
      const done = (error: Error | undefined, channel: ClientChannel): void => {
        if (error) reject(new CommandError(`SSH session allocation failed: ${error.message}`, { cause: error }));
        else resolve(channel);
      };
      if (command !== undefined) this.#client.exec(command, pty ? { pty } : {}, done);
      else this.#client.shell(pty ?? false, done);
    });
  }
}

function reason(error: unknown, target: SshTarget, seen: string | undefined): string {
  const known = seen === undefined || target.fingerprint === seen;
  if (!known && /verification failed/i.test(describeError(error))) {
    return `Host key verification failed.\n\nThe fingerprint of the received key was "${seen}".`;
  }
  if (/authentication methods failed/i.test(describeError(error))) {
    return 'You are not authorized to perform the requested action.';
  }
  return describeError(error);
}

/** All the forms in which an API may tell it; the first is the one to show. */
function fingerprints(key: Buffer): string[] {
  const hex = (algorithm: string): string => createHash(algorithm).update(key).digest('hex');
  const colons = (text: string): string => (text.match(/../g) ?? []).join(':');
  const base64 = createHash('sha256').update(key).digest('base64').replace(/=+$/, '');
  return [base64, hex('sha256'), colons(hex('sha1')), colons(hex('md5'))];
}
