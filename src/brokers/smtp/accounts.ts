import { createHash, timingSafeEqual } from 'node:crypto';
import { chownSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type SystemUser, writeOwned } from '../engines/system-user.ts';

/** What a box may hold; older mail goes when more comes. */
const Box = z.object({
  guid: z.string().describe("the instance's, as the platform knows it"),
  messages: z.number().int().positive(),
  size_mb: z.number().positive(),
});
export type Box = z.infer<typeof Box>;

/** Who may send into which box: a binding. */
const Login = z.object({ box: z.string(), password_sha256: z.string() });
export type Login = z.infer<typeof Login>;

const NAME = /^[a-z0-9_]{1,64}$/;

/**
 * Boxes and logins as files: the broker writes them, the catcher, which is another process, reads them whenever it is asked. So
 * nothing has to be told to a catcher that was away.
 */
export class Accounts {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The folder of a box's mail. */
  mailOf(box: string): string {
    return join(this.#boxFolder(box), 'mail');
  }

  writeBox(name: string, box: Box, owner: SystemUser): void {
    for (const folder of [this.#boxes, this.#logins]) mkdirSync(folder, { recursive: true, mode: 0o711 });
    mkdirSync(this.mailOf(name), { recursive: true, mode: 0o700 });
    chownSync(this.mailOf(name), owner.uid, owner.gid);
    chownSync(this.#boxFolder(name), owner.uid, owner.gid);
    writeOwned(join(this.#boxFolder(name), 'box.json'), JSON.stringify(box satisfies Box), owner);
  }

  removeBox(name: string): void {
    rmSync(this.#boxFolder(name), { recursive: true, force: true });
  }

  writeLogin(username: string, login: { box: string; password: string }, owner: SystemUser): void {
    const { box, password } = login;
    const content: Login = { box, password_sha256: digest(password) };
    writeOwned(join(this.#logins, `${username}.json`), JSON.stringify(content), owner);
  }

  removeLogin(username: string): void {
    rmSync(join(this.#logins, `${username}.json`), { force: true });
  }

  readBox(name: string): Box | undefined {
    return NAME.test(name) ? read(Box, join(this.#boxFolder(name), 'box.json')) : undefined;
  }

  readLogin(username: string): Login | undefined {
    return NAME.test(username) ? read(Login, join(this.#logins, `${username}.json`)) : undefined;
  }

  /** The box that this login opens. */
  open(username: string, password: string): string | undefined {
    const login = this.readLogin(username);
    if (!login) return undefined;
    const given = Buffer.from(digest(password));
    const kept = Buffer.from(login.password_sha256);
    return given.length === kept.length && timingSafeEqual(given, kept) ? login.box : undefined;
  }

  boxes(): string[] {
    try {
      return readdirSync(this.#boxes);
    } catch {
      return [];
    }
  }

  get #boxes(): string {
    return join(this.#folder, 'boxes');
  }

  get #logins(): string {
    return join(this.#folder, 'logins');
  }

  #boxFolder(name: string): string {
    return join(this.#boxes, name);
  }
}

// The password is 256 bits of a keyed digest: there is nothing to guess that a slow digest would slow down.
const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

function read<Schema extends z.ZodType>(schema: Schema, file: string): z.output<Schema> | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return undefined;
  }
}
