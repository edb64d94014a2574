import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { text } from 'node:stream/consumers';
import { WardenError } from '#http/warden-client.ts';
import type { Container } from './container.ts';
import type { Ground } from './ground.ts';

/**
 * Files go in and out by a tar that runs inside the container as vcap: whatever links an app has laid, tar reaches no more than
 * the app itself does.
 */
export async function copyIn(
  ground: Ground,
  container: Container,
  options: { path: string; tar: Readable },
): Promise<void> {
  const { path, tar } = options;
  const script = 'mkdir -p -- "$1" || exit 3; exec tar --extract --no-same-owner --directory "$1" --file -';
  await using process = await TarProcess.start(ground, container, ['/bin/sh', '-c', script, 'copy-in', path]);
  const fed = pipeline(tar, process.stdin).catch(() => {}); // a tar that refuses closes its end; its words say why
  const [status, words] = await Promise.all([process.end, text(process.stderr), fed]);
  if (status === 0) return;
  if (status === 3) throw new WardenError('path_not_found', `${path}: ${words.trim()}`);
  throw new WardenError('invalid_request', `unpacking below ${path}: ${words.trim().slice(0, 500)}`);
}

/** `begin` is called before the first byte is written. Errors: WardenError path_not_found. */
export async function copyOut(
  ground: Ground,
  container: Container,
  options: { path: string; begin: () => void; to: Writable },
): Promise<void> {
  const { path, begin, to } = options;
  const script = '[ -e "$1/$2" ] || exit 3; exec tar --create --directory "$1" --file - -- "$2"';
  const args = ['/bin/sh', '-c', script, 'copy-out', dirname(path), basename(path) || '.'];
  await using process = await TarProcess.start(ground, container, args);
  process.stdin.end();
  const words = text(process.stderr);
  await once(process.stdout, 'readable');
  const isEmpty = process.stdout.readableLength === 0;
  if (isEmpty) process.stdout.resume();
  if (isEmpty && (await process.end) === 3)
    throw new WardenError('path_not_found', `there is no ${path} in ${container.handle}`);
  begin();
  await pipeline(process.stdout, to, { end: false });
  if ((await process.end) !== 0) throw new Error(`packing ${path}: ${await words}`);
  to.end();
}

/** A process in the container whose streams we hold; it dies with us. */
class TarProcess implements AsyncDisposable {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** its exit status */
  readonly end: Promise<number>;
  readonly #kill: () => void;
  readonly #spec: string;

  private constructor(child: ReturnType<Ground['runtime']['execAttached']>, spec: string) {
    if (!child.stdin || !child.stdout || !child.stderr) throw new Error('a process without its streams');
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    this.stderr = child.stderr;
    this.end = once(child, 'close').then(([code]) => (typeof code === 'number' ? code : -1));
    this.#kill = () => child.kill('SIGKILL');
    this.#spec = spec;
  }

  static async start(ground: Ground, container: Container, args: string[]): Promise<TarProcess> {
    const spec = join(ground.mountsOf(container.handle), 'bundle', `${randomUUID()}.json`);
    await writeFile(spec, JSON.stringify(container.processOf({ args, cwd: '/' })));
    return new TarProcess(ground.runtime.execAttached(container.handle, spec, { stdio: 'pipe' }), spec);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill();
    await this.end;
    await rm(this.#spec, { force: true });
  }
}
