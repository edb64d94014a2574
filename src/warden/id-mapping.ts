import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MS_BIND, mount } from './syscalls.ts';

export interface IdRange {
  /** host uid and gid of the container's root */
  start: number;
  size: number;
}

/**
 * A user namespace for each slot, held by a bind mount alone, through which layers are mounted: what is uid 0 on disk is the
 * container's root. Made ahead of need where that can be known, as it takes a process.
 */
export class IdMappings {
  readonly #folder: string;
  readonly #pool: { start: number; size_per_container: number };
  readonly #making = new Map<number, Promise<string>>();

  constructor(options: { folder: string; pool: { start: number; size_per_container: number } }) {
    this.#folder = options.folder;
    this.#pool = options.pool;
    mkdirSync(this.#folder, { recursive: true });
  }

  rangeOf(slot: number): IdRange {
    return { start: this.#pool.start + slot * this.#pool.size_per_container, size: this.#pool.size_per_container };
  }

  /** Path of the slot's user namespace. */
  async namespaceOf(slot: number): Promise<string> {
    const making = this.#making.get(slot) ?? this.#make(slot);
    this.#making.set(slot, making);
    making.catch(() => this.#making.delete(slot));
    return await making;
  }

  async #make(slot: number): Promise<string> {
    const done = join(this.#folder, `${slot}.done`);
    const pin = join(this.#folder, String(slot));
    if (existsSync(done)) return pin;
    // cat stays for as long as its input is open: so long the namespace has a process to be reached by.
    const holder = spawn('unshare', ['--user', '--', 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
    try {
      await once(holder, 'spawn');
      holder.stdin.write('.');
      await once(holder.stdout, 'data');
      const { start, size } = this.rangeOf(slot);
      await writeFile(`/proc/${holder.pid}/uid_map`, `0 ${start} ${size}`);
      await writeFile(`/proc/${holder.pid}/gid_map`, `0 ${start} ${size}`);
      writeFileSync(pin, '');
      mount({ source: `/proc/${holder.pid}/ns/user`, target: pin, flags: MS_BIND });
      writeFileSync(done, '');
      return pin;
    } finally {
      holder.stdin.end();
    }
  }
}
