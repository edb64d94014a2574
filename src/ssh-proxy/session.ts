import type { Socket } from 'node:net';
import type { ServerChannel, Session } from 'ssh2';
import { AttachError, AttachExit, FRAME, type ShellRequest, type TerminalSize } from '#contracts/attach.ts';
import { SIGNALS, type SignalName } from '#contracts/warden.ts';
import { encodeFrame, framesOf, writeTo } from '#http/frames.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import { type Entrance, NoEntrance } from './entrance.ts';

const MAX_VARIABLES = 100;
const MAX_VARIABLE_BYTES = 32 * 1024;
/** What ssh itself ends with when it is not the command that failed. */
const NOT_STARTED = 255;

/**
 * One session channel: what the client asks for before it starts something (terminal, variables), the start, and then what goes to and
 * fro until the process or the client is gone. RFC 4254, section 6.
 */
export function serveSession(session: Session, options: { entrance: Entrance; log: Log }): void {
  let tty: (TerminalSize & { term: string }) | undefined;
  const env: [string, string][] = [];
  let inner: Socket | undefined;
  const sizeOf = ({ cols, rows }: { cols: number; rows: number }): TerminalSize => ({
    columns: Math.min(cols, 65_535),
    rows: Math.min(rows, 65_535),
  });

  session.on('pty', (accept: (() => void) | undefined, _reject, info) => {
    const { term } = info as unknown as { term?: string };
    tty = { term: term === undefined || term === '' ? 'dumb' : term, ...sizeOf(info) };
    accept?.();
  });
  session.on('env', (accept: (() => void) | undefined, reject: (() => void) | undefined, { key, val }) => {
    if (env.length >= MAX_VARIABLES || val.length > MAX_VARIABLE_BYTES) {
      reject?.();
      return;
    }
    env.push([key, val]);
    accept?.();
  });
  session.on('window-change', (accept: (() => void) | undefined, _reject, info) => {
    if (tty) tty = { ...tty, ...sizeOf(info) };
    inner?.write(encodeFrame(FRAME.resize, sizeOf(info)));
    accept?.();
  });
  session.on('signal', (accept: (() => void) | undefined, _reject, { name }) => {
    const signal = SIGNALS.find((known: SignalName) => known === name);
    if (signal !== undefined) inner?.write(encodeFrame(FRAME.signal, { signal }));
    accept?.();
  });

  const begin = (channel: ServerChannel, what: ShellRequest['what']): void => {
    void (async () => {
      try {
        inner = await options.entrance.attach();
        inner.write(encodeFrame(FRAME.start, { what, env, ...(tty && { tty }) }));
        await join(channel, inner);
      } catch (error) {
        options.log.info({ error: describeError(error) }, 'session not started');
        const words = error instanceof NoEntrance ? error.message : 'the connection into the container broke off';
        fail(channel, words);
      }
    })();
  };
  session.on('shell', (accept) => begin(accept(), { kind: 'shell' }));
  session.on('exec', (accept, _reject, { command }) => begin(accept(), { kind: 'exec', command }));
  session.on('subsystem', (accept, reject, { name }) => {
    if (name === 'sftp') begin(accept(), { kind: 'sftp' });
    else reject();
  });
}

function fail(channel: ServerChannel, words: string): void {
  if (channel.destroyed) return;
  channel.stderr.write(`ssh: ${words}\r\n`, () => {
    channel.exit(NOT_STARTED);
    channel.end();
  });
}

/** Carries everything between the two until the process has ended. Errors: the inner connection's, and NoEntrance. */
async function join(channel: ServerChannel, inner: Socket): Promise<void> {
  inner.on('error', () => {}); // told by the frames' end
  const gone = new Promise<void>((resolve) => channel.once('close', resolve));
  void gone.then(() => inner.destroy());
  void sendUp(channel, inner);
  for await (const { kind, payload } of framesOf(inner)) {
    if (kind === FRAME.data) await Promise.race([put(channel, payload), gone]);
    else if (kind === FRAME.stderr) await Promise.race([put(channel.stderr, payload), gone]);
    else if (kind === FRAME.error) throw new NoEntrance(AttachError.parse(JSON.parse(payload.toString())).message);
    else if (kind === FRAME.exit) {
      channel.exit(AttachExit.parse(JSON.parse(payload.toString())).exit_status);
      channel.end();
      return;
    }
  }
  if (!channel.destroyed && channel.writable) throw new NoEntrance('the container or its cell went away');
}

async function sendUp(channel: ServerChannel, inner: Socket): Promise<void> {
  try {
    // The plain loop would destroy the channel at the end of what the client sends, and with it what it still is to read.
    for await (const chunk of channel.iterator({ destroyOnReturn: false }))
      await writeTo(inner, encodeFrame(FRAME.data, chunk as Buffer));
    inner.write(encodeFrame(FRAME.eof));
  } catch {
    // The channel broke off; that the caller is gone is told by the inner connection's end.
  }
}

async function put(stream: NodeJS.WritableStream, bytes: Buffer): Promise<void> {
  if (bytes.length > 0) await new Promise<void>((resolve) => stream.write(bytes, () => resolve()));
}
