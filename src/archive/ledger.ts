import { posix } from 'node:path';
import { ArchiveInvalid, ArchivePathEscapes, ArchiveTooLarge } from './errors.ts';

export interface ExtractLimits {
  /** Bytes of all files together, unpacked. */
  max_bytes: number;
  max_entries: number;
}

const MAX_LINK_HOPS = 40;
const MAX_PATH_BYTES = 4096;

/**
 * The account of one archive while it is read: every entry is entered here before anything of it is written, and refused
 * here if it escapes, is too much, or lies beneath a link.
 */
export class ArchiveLedger {
  readonly #limits: ExtractLimits;
  readonly #links = new Map<string, string>();
  readonly #folders = new Set<string>();
  #bytes = 0;
  #entries = 0;

  constructor(limits: ExtractLimits) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get entries(): number {
    return this.#entries;
  }

  /**
   * The clean form of an entry's path, relative and without `.`; empty for the root itself.
   * Errors: ArchivePathEscapes, ArchiveTooLarge, ArchiveInvalid.
   */
  enter(path: string, kind: 'file' | 'folder' | 'link', size = 0): string {
    if (++this.#entries > this.#limits.max_entries) {
      throw new ArchiveTooLarge(`the archive has more than ${this.#limits.max_entries} entries`);
    }
    const clean = cleanPath(path);
    this.#refuseBeneathLink(clean);
    if (kind === 'folder') {
      if (this.#links.has(clean)) throw new ArchiveInvalid(`${JSON.stringify(path)} is both a link and a folder`);
      this.#folders.add(clean);
      return clean;
    }
    if (clean === '') throw new ArchiveInvalid('the archive has a file without a name');
    if (this.#folders.has(clean)) throw new ArchiveInvalid(`${JSON.stringify(path)} is both a folder and a file`);
    this.#links.delete(clean);
    this.#bytes += size;
    if (this.#bytes > this.#limits.max_bytes) {
      throw new ArchiveTooLarge(`the archive unpacks to more than ${this.#limits.max_bytes} bytes`);
    }
    return clean;
  }

  /** The clean names of a hard link and of the file, entered before, that it is another name of. Errors: as `enter`. */
  enterHardLink(path: string, target: string): { name: string; target: string } {
    const name = this.enter(path, 'file');
    const clean = cleanPath(target);
    this.#refuseBeneathLink(clean);
    if (clean === '' || this.#folders.has(clean))
      throw new ArchiveInvalid(`${JSON.stringify(path)} is a hard link to no file`);
    const symlink = this.#links.get(clean);
    if (symlink !== undefined) this.#links.set(name, symlink);
    return { name, target: clean };
  }

  /** Whether a link was entered at a clean path. */
  isLink(path: string): boolean {
    return this.#links.has(path);
  }

  /** Notes where a link that was entered points. */
  noteLink(path: string, target: string): void {
    if (target === '' || target.includes('\0')) throw new ArchiveInvalid(`the link ${JSON.stringify(path)} is empty`);
    this.#links.set(path, target);
  }

  /** Errors: ArchivePathEscapes for the first link whose end, followed through all others, lies outside. */
  refuseEscapingLinks(): void {
    for (const path of this.#links.keys()) {
      if (!this.#staysInside(path)) throw new ArchivePathEscapes(path);
    }
  }

  #refuseBeneathLink(path: string): void {
    let slash = path.indexOf('/');
    while (slash > 0) {
      const parent = path.slice(0, slash);
      if (this.#links.has(parent)) throw new ArchiveInvalid(`${JSON.stringify(path)} lies beneath a link`);
      this.#folders.add(parent);
      slash = path.indexOf('/', slash + 1);
    }
  }

  /** Walks as the kernel would: `a/../b` is b's sibling of where `a` really is, which is why names alone do not tell. */
  #staysInside(path: string): boolean {
    const pending = path.split('/').reverse();
    const at: string[] = [];
    let hops = 0;
    for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (at.pop() === undefined) return false;
        continue;
      }
      const target = this.#links.get([...at, part].join('/'));
      if (target === undefined) {
        at.push(part);
        continue;
      }
      if (target.startsWith('/')) return false;
      // A loop leads nowhere, hence not out.
      if (++hops > MAX_LINK_HOPS) return true;
      pending.push(...target.split('/').reverse());
    }
    return true;
  }
}

function cleanPath(path: string): string {
  if (path.includes('\0')) throw new ArchiveInvalid('an entry has a NUL byte in its name');
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw new ArchiveInvalid('an entry has a name of over 4096 bytes');
  // A path that goes up and comes back inside is refused as well: no honest packer writes one.
  if (path.startsWith('/') || path.split('/').includes('..')) throw new ArchivePathEscapes(path);
  const clean = posix.normalize(path).replace(/\/+$/, '');
  return clean === '.' ? '' : clean;
}
