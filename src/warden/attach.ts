import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, readdirSync, readlinkSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { AttachRequest, AttachSignal, FRAME, type FrameKind, TerminalSize } from '#contracts/attach.ts';
import { encodeFrame, type Frame, FrameReader, framesOf, writeTo } from '#http/frames.ts';
import { WardenError } from '#http/warden-client.ts';
import { describeError } from '#kernel/errors.ts';
import type { Container } from './container.ts';
import type { Ground } from './ground.ts';
import { groupOf, signalProcess } from './processes.ts';
import { borrowFile, openTerminal, resizeTerminal } from './syscalls.ts';
import { terminalReader, terminalWriter } from './terminal.ts';

/** Between HUP and KILL for a process whose caller is gone. */
const HANGUP_GRACE_MS = 2000;
const SIGN_OF_LIFE_MS = 2000;

/**
 * A process whose streams the caller holds, over a socket of frames (contracts/attach.ts), until one of both is over. conmon has no part
 * in it: it dies with its caller, or with us.
 */
export async function serveAttached(ground: Ground, container: Container, socket: Socket): Promise<void> {
  const frames = framesOf(socket, new FrameReader());
  const gone = new Promise((resolve) => socket.once('close', resolve));
  const send = async (kind: FrameKind, payload: Buffer | object): Promise<void> => {
    if (!socket.destroyed) await writeTo(socket, encodeFrame(kind, payload));
  };
  try {
    const { value: first } = await frames.next();
    const request = requestIn(first);
    await using attached = await Attached.start(ground, container, request);
    void gone.then(() => attached.hangUp());
    // While the process reads nothing we read nothing, and would not see that the caller is gone: a write tells.
    using _sign = ground.clock.every(SIGN_OF_LIFE_MS, () => {
      if (socket.writableLength === 0) void send(FRAME.data, Buffer.alloc(0));
    });
    const down = Promise.allSettled(
      attached.outputs().map(async ({ kind, from }) => {
        for await (const chunk of from) await send(kind, chunk as Buffer);
      }),
    );
    const up = (async () => {
      for await (const frame of frames) await attached.take(frame);
      attached.hangUp();
    })();
    // A caller that sends rubbish or breaks off is a caller that is gone.
    up.catch(() => attached.hangUp());
    const exit_status = await attached.end;
    // What it left running in the container may hold its streams open for ever; whoever does not want that breaks off.
    await Promise.race([down, gone]);
    await send(FRAME.exit, { exit_status });
  } catch (error) {
    const known = error instanceof WardenError ? error : new WardenError('spawn_failed', describeError(error));
    await send(FRAME.error, { code: known.code, message: known.message });
  } finally {
    socket.end();
  }
}

function requestIn(frame: Frame | undefined): AttachRequest {
  if (frame?.kind !== FRAME.start) throw new WardenError('invalid_request', 'the first frame must say what to start');
  const parsed = AttachRequest.safeParse(jsonOf(frame.payload));
  if (parsed.success) return parsed.data;
  throw new WardenError('invalid_request', parsed.error.issues.map(({ message }) => message).join('; '));
}

function jsonOf(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch {
    return undefined;
  }
}

interface Streams {
  stdin: Writable;
  stdout: Readable;
  stderr?: Readable;
  /** The terminal's end that we hold. */
  terminal?: number;
}

/** `crun exec` held by us, and through it the process in the container. */
class Attached implements AsyncDisposable {
  readonly end: Promise<number>;
  readonly #crun: ChildProcess;
  readonly #streams: Streams;
  readonly #files: { spec: string; pid: string };
  /** The end of the container's own terminal that crun holds, borrowed. */
  #inner: number | undefined;
  #hasHungUp = false;
  #hasEnded = false;

  private constructor(crun: ChildProcess, streams: Streams, files: { spec: string; pid: string }) {
    this.#crun = crun;
    this.#streams = streams;
    this.#files = files;
    this.end = once(crun, 'exit').then(([code, signal]) => {
      this.#hasEnded = true;
      if (typeof code === 'number') return code;
      return 128 + (constants.signals[signal as NodeJS.Signals] ?? 0);
    });
    streams.stdin.on('error', () => {}); // a process that reads no more; its end is told
  }

  static async start(ground: Ground, container: Container, request: AttachRequest): Promise<Attached> {
    const name = join(ground.mountsOf(container.handle), 'bundle', randomUUID());
    const files = { spec: `${name}.json`, pid: `${name}.pid` };
    await writeFile(
      files.spec,
      JSON.stringify({ ...container.processOf(request), terminal: request.tty !== undefined }),
    );
    if (!request.tty) {
      const crun = ground.runtime.execAttached(container.handle, files.spec, { stdio: 'pipe', pid_file: files.pid });
      const { stdin, stdout, stderr } = crun;
      if (!stdin || !stdout || !stderr) throw new Error('a process without its streams');
      return new Attached(crun, { stdin, stdout, stderr }, files);
    }
    const { ours, theirs } = openTerminal(request.tty);
    const stdio = [theirs, theirs, theirs];
    const crun = ground.runtime.execAttached(container.handle, files.spec, { stdio, pid_file: files.pid });
    closeSync(theirs);
    const stdout = terminalReader(ours);
    return new Attached(crun, { stdin: terminalWriter(ours), stdout, terminal: ours }, files);
  }

  outputs(): { kind: FrameKind; from: Readable }[] {
    const { stdout, stderr } = this.#streams;
    return [{ kind: FRAME.data, from: stdout }, ...(stderr ? [{ kind: FRAME.stderr, from: stderr }] : [])];
  }

  /** Carries out what the caller sends; what makes no sense from a caller is passed over. */
  async take({ kind, payload }: Frame): Promise<void> {
    const { stdin, terminal } = this.#streams;
    if (kind === FRAME.data) await writeTo(stdin, payload);
    // On a terminal it is a character.
    if (kind === FRAME.eof && terminal === undefined) stdin.end();
    if (kind === FRAME.resize && terminal !== undefined && !this.#hasEnded) {
      this.#inner ??= crunsTerminal(this.#crun.pid ?? 0);
      if (this.#inner !== undefined) resizeTerminal(this.#inner, TerminalSize.parse(jsonOf(payload)));
    }
    if (kind === FRAME.signal) await this.#signal(`SIG${AttachSignal.parse(jsonOf(payload)).signal}`);
  }

  /** The caller is gone. */
  hangUp(): void {
    if (this.#hasHungUp || this.#hasEnded) return;
    this.#hasHungUp = true;
    void this.#signal('SIGHUP');
    const timer = setTimeout(() => void this.#signal('SIGKILL'), HANGUP_GRACE_MS);
    void this.end.finally(() => clearTimeout(timer));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hangUp();
    await this.end;
    this.#streams.stdout.destroy();
    if (this.#inner !== undefined) closeSync(this.#inner);
    await Promise.all(Object.values(this.#files).map(async (path) => await rm(path, { force: true })));
  }

  async #signal(signal: NodeJS.Signals): Promise<void> {
    const pid = Number(await readFile(this.#files.pid, 'utf8').catch(() => '0'));
    const group = pid > 0 ? groupOf(pid) : undefined;
    if (this.#hasEnded) return;
    if (group !== undefined) signalProcess(-group, signal);
    else if (signal === 'SIGKILL') this.#crun.kill(signal);
  }
}

/** crun lays the process's terminal to ours, and does not carry over a change of its size. Undefined: it is not that far yet. */
function crunsTerminal(pid: number): number | undefined {
  const folder = `/proc/${pid}/fd`;
  for (const fd of readdirSync(folder)) {
    if (readlinkSync(join(folder, fd)).endsWith('/ptmx')) return borrowFile(pid, Number(fd));
  }
  return undefined;
}
