import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import { AppError } from '#kernel/errors.ts';
import { ArchiveLedger, type ExtractLimits } from './ledger.ts';

/** The file system refused: full, read-only, gone. `cause` has tar's words. */
export class TreeWriteFailed extends AppError {
  constructor(folder: string, options?: ErrorOptions) {
    super('tree_write_failed', `could not write into ${folder}`, options);
  }
}

export interface TreeOptions extends ExtractLimits {
  /**
   * Owner of all that is written, or each as the archive says; only root may ask for it. Without it files belong to who runs this.
   */
  owner?: { uid: number; gid: number } | 'as said';
  /**
   * `inside` refuses links that lead out of the folder. `kept` keeps them as they are, for trees that are looked at only
   * from within a container, where an absolute link means the container's own root.
   */
  links: 'inside' | 'kept';
}

export interface TreeEntry {
  path: string;
  mode: number;
  mtime: Date;
  /** For trees whose owners are as said. */
  uid?: number;
  gid?: number;
}

/**
 * Writes a tree into a folder. We judge every entry and say it anew as tar; the system's tar carries it out, which is
 * several times faster than a system call at a time from here and takes no turn of our event loop.
 */
export class TreeWriter {
  readonly #ledger: ArchiveLedger;
  readonly #options: TreeOptions;
  readonly #pack: Pack = pack();
  readonly #child: ChildProcess;
  readonly #written: Promise<void>;
  #failure: unknown;

  private constructor(folder: string, options: TreeOptions) {
    this.#ledger = new ArchiveLedger(options);
    this.#options = options;
    const asOwner = options.owner === undefined ? ['--no-same-owner'] : ['--same-owner', '--numeric-owner'];
    const child = spawn('tar', ['-x', '-p', ...asOwner, '-f', '-', '-C', folder], {
      stdio: ['pipe', 'ignore', 'pipe'],
      // A translated message or an option from the environment would change what tar does.
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
    });
    this.#child = child;
    this.#written = this.#carry(child, folder);
    // Whoever waits hears of it through `#add`, `file` or `finish`.
    this.#written.catch((error: unknown) => {
      this.#failure = error;
      this.#pack.destroy();
    });
  }

  /** Makes `folder` when it is not there. */
  static async open(folder: string, options: TreeOptions): Promise<TreeWriter> {
    await mkdir(folder, { recursive: true });
    return new TreeWriter(folder, options);
  }

  async folder(entry: TreeEntry): Promise<void> {
    const name = this.#ledger.enter(entry.path, 'folder');
    if (name === '') return;
    // A folder that its owner may not enter could be neither filled nor removed.
    const header = this.#header(entry, name);
    await this.#add({ ...header, mode: header.mode | 0o700, type: 'directory' });
  }

  /** `content` must give exactly `size` bytes. */
  async file(entry: TreeEntry & { size: number }, content: Buffer | Readable): Promise<void> {
    const name = this.#ledger.enter(entry.path, 'file', entry.size);
    const header = { ...this.#header(entry, name), size: entry.size, type: 'file' as const };
    if (Buffer.isBuffer(content)) return await this.#add(header, content);
    await new Promise<void>((resolve, reject) => {
      let failure: unknown;
      const refuse = (error: unknown): void => reject(this.#failure ?? failure ?? error);
      const sink = this.#pack.entry(header, (error) => (error ? refuse(error) : resolve()));
      pipeline(content, sink).catch((error: unknown) => {
        failure = error;
        refuse(error);
      });
    });
  }

  async link(entry: Omit<TreeEntry, 'mode'>, target: string): Promise<void> {
    const name = this.#ledger.enter(entry.path, 'link');
    this.#ledger.noteLink(name, target);
    // Judged only at the end, since links that are still to come may turn this one around; nothing is written beneath one.
    await this.#add({ ...this.#header({ ...entry, mode: 0o777 }, name), type: 'symlink', linkname: target });
  }

  /** Another name for a file that was written before. */
  async hardLink(entry: TreeEntry, target: string): Promise<void> {
    const to = this.#ledger.enterHardLink(entry.path, target);
    await this.#add({ ...this.#header(entry, to.name), type: 'link', linkname: to.target });
  }

  /** Errors: ArchivePathEscapes, TreeWriteFailed. */
  async finish(): Promise<{ bytes: number; entries: number }> {
    if (this.#options.links === 'inside') this.#ledger.refuseEscapingLinks();
    this.#pack.finalize();
    await this.#written;
    return { bytes: this.#ledger.bytes, entries: this.#ledger.entries };
  }

  /** Stops half-way; what was written stays for the caller to remove. */
  async abort(): Promise<void> {
    this.#pack.destroy();
    this.#child.kill('SIGKILL');
    await this.#written.catch(() => {});
  }

  #header(entry: TreeEntry, name: string) {
    const { owner } = this.#options;
    const { uid = 0, gid = 0, mode, mtime } = entry;
    // No setuid or setgid bit ever comes out of an archive; the sticky bit only with owners, between whom it stands.
    if (owner === 'as said') return { name, mode: mode & 0o1777, mtime, uid, gid };
    return { name, mode: mode & 0o777, mtime, ...owner };
  }

  async #add(header: Parameters<Pack['entry']>[0], content?: Buffer): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error | null): void => (error ? reject(this.#failure ?? error) : resolve());
      if (content === undefined) this.#pack.entry(header, done);
      else this.#pack.entry(header, content, done);
    }).catch((error: unknown) => {
      throw this.#failure ?? error;
    });
  }

  async #carry(child: ChildProcess, folder: string): Promise<void> {
    const ended = new Promise<string>((resolve, reject) => {
      let complaint = '';
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        if (complaint.length < 2000) complaint += text;
      });
      child.once('error', reject);
      child.once('close', (status, signal) => {
        resolve(status === 0 ? '' : complaint.trim() || `tar ended with ${status ?? signal}`);
      });
    });
    ended.catch(() => {});
    let broken: unknown;
    if (child.stdin) await pipeline(this.#pack, child.stdin).catch((error: unknown) => (broken = error));
    const complaint = await ended.catch((error: unknown) => String(error));
    // What tar says goes before the broken pipe that we see of it.
    if (complaint !== '') throw new TreeWriteFailed(folder, { cause: new Error(complaint) });
    if (broken !== undefined) throw new TreeWriteFailed(folder, { cause: broken });
  }
}
