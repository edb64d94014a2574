import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MailParser, type ParsedMail, simpleParser } from 'mailparser';
import { z } from 'zod';
import { AppError } from '#kernel/errors.ts';

/** What the list of a box shows. `id`s sort by the time of arrival. */
const Summary = z.object({
  id: z.string(),
  received_at: z.string(),
  from: z.string(),
  to: z.array(z.string()).describe('those of the envelope: whom it would have gone to'),
  subject: z.string(),
  bytes: z.number().int(),
});
export type Summary = z.infer<typeof Summary>;

export interface MailboxLimits {
  messages: number;
  bytes: number;
  message_bytes: number;
}

/** A message above the limit of one message. */
export class MessageTooLarge extends AppError {
  constructor() {
    super('message_too_large', 'the message is larger than one may be');
  }
}

export const isMessageId = (text: string): boolean => /^[0-9a-z]{9}-[0-9a-f]{12}$/.test(text);

const LONGEST_HEADER_TEXT = 500;

/** One box: each message a file as it came, and one with its summary, which is there last and goes first. */
export class Mailbox {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Keeps a message and lets the oldest go where there are more than the limits. Errors: MessageTooLarge. */
  async keep(content: Readable, envelope: { from: string; to: string[] }, limits: MailboxLimits): Promise<Summary> {
    const id = `${Date.now().toString(36).padStart(9, '0')}-${randomBytes(6).toString('hex')}`;
    const file = this.fileOf(id);
    await mkdir(this.#folder, { recursive: true });
    try {
      await pipeline(content, upTo(limits.message_bytes), createWriteStream(file, { mode: 0o600 }));
      const { size: bytes } = await stat(file);
      if (bytes > limits.message_bytes) throw new MessageTooLarge();
      const subject = await subjectOf(file);
      const summary: Summary = { id, received_at: new Date().toISOString(), ...envelope, subject, bytes };
      await writeFile(`${this.#summaryOf(id)}.new`, JSON.stringify(summary), { mode: 0o600 });
      await rename(`${this.#summaryOf(id)}.new`, this.#summaryOf(id));
      await this.#prune(limits);
      return summary;
    } catch (error) {
      await rm(file, { force: true });
      throw error;
    }
  }

  /** The newest first. */
  async list(): Promise<Summary[]> {
    const names = await readdir(this.#folder).catch(() => []);
    const ids = names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length));
    const summaries = await Promise.all(ids.filter(isMessageId).map(async (id) => await this.#read(id)));
    return summaries.filter((summary) => summary !== undefined).toSorted((one, other) => (one.id < other.id ? 1 : -1));
  }

  /** Undefined when it is not (any more) there. */
  async parse(id: string): Promise<{ summary: Summary; mail: ParsedMail } | undefined> {
    const summary = await this.#read(id);
    if (!summary) return undefined;
    return { summary, mail: await simpleParser(createReadStream(this.fileOf(id))) };
  }

  async remove(id: string): Promise<void> {
    await rm(this.#summaryOf(id), { force: true });
    await rm(this.fileOf(id), { force: true });
  }

  async clear(): Promise<void> {
    for (const { id } of await this.list()) await this.remove(id);
  }

  /** The message as it came. */
  fileOf(id: string): string {
    return join(this.#folder, `${id}.eml`);
  }

  async #prune(limits: MailboxLimits): Promise<void> {
    let [count, bytes] = [0, 0];
    for (const summary of await this.list()) {
      count += 1;
      bytes += summary.bytes;
      if (count > limits.messages || bytes > limits.bytes) await this.remove(summary.id);
    }
  }

  async #read(id: string): Promise<Summary | undefined> {
    if (!isMessageId(id)) return undefined;
    try {
      return Summary.parse(JSON.parse(await readFile(this.#summaryOf(id), 'utf8')));
    } catch {
      return undefined;
    }
  }

  #summaryOf(id: string): string {
    return join(this.#folder, `${id}.json`);
  }
}

/** Lets one byte more through than may be, so that it is seen, and takes the rest to its end: SMTP answers only then. */
function upTo(limit: number): Transform {
  let taken = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const room = Math.max(0, limit + 1 - taken);
      taken += chunk.length;
      done(null, chunk.subarray(0, room));
    },
  });
}

/** Of the head alone: the rest of the message is not looked at before somebody reads it. */
async function subjectOf(file: string): Promise<string> {
  const source = createReadStream(file);
  const parser = new MailParser();
  try {
    return await new Promise<string>((resolve, reject) => {
      parser.once('headers', (headers) => {
        const subject = headers.get('subject');
        resolve(typeof subject === 'string' ? subject.slice(0, LONGEST_HEADER_TEXT) : '');
      });
      parser.once('end', () => resolve(''));
      parser.once('error', reject);
      source.once('error', reject);
      source.pipe(parser);
      parser.resume();
    });
  } catch {
    // A head that cannot be read is still a message to look at.
    return '';
  } finally {
    source.unpipe(parser);
    source.destroy();
    parser.on('error', () => {});
    parser.destroy();
  }
}
