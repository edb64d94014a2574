import { createInterface, type Interface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { stripVTControlCharacters, styleText } from 'node:util';
import { CommandError } from './errors.ts';

type Style = Parameters<typeof styleText>[0];

/** What commands print with: the public CLI's forms, coloured when a person looks. */
export class Terminal {
  readonly isInteractive = process.stdout.isTTY;
  /** Unless it is said, output is coloured when a person looks. */
  isColored = this.isInteractive;

  say(text = ''): void {
    process.stdout.write(`${text}\n`);
  }

  write(text: string): void {
    process.stdout.write(text);
  }

  warn(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** A sentence whose values are highlighted. */
  text(words: TemplateStringsArray, ...values: readonly string[]): string {
    return words.map((word, n) => word + (n < values.length ? this.name(values[n] ?? '') : '')).join('');
  }

  /** As the public CLI does, with an empty line. */
  ok(): void {
    this.say(`${this.style(['green', 'bold'], 'OK')}\n`);
  }

  failed(message: string): void {
    process.stderr.write(`${message}\n`);
    this.say(this.style(['red', 'bold'], 'FAILED'));
  }

  /** A name of something, as the public CLI highlights it. */
  name(text: string): string {
    return this.style(['cyan', 'bold'], text);
  }

  style(style: Style, text: string): string {
    return this.isColored ? styleText(style, text, { validateStream: false }) : text;
  }

  /** Columns as wide as their widest cell, three spaces apart; the first row is the head. */
  table(rows: readonly (readonly string[])[], indent = ''): void {
    const [head = [], ...body] = rows;
    for (const line of layOut([head.map((cell) => this.style('bold', cell)), ...body])) this.say(indent + line);
  }

  /** `key:   value` lines, values in one column; rows without a key are left out. */
  facts(rows: readonly (readonly [string, string])[]): void {
    for (const line of layOut(rows)) this.say(line);
  }

  async ask(question: string): Promise<string> {
    const prompt = createInterface({ input: process.stdin, output: process.stdout });
    try {
      return await answerTo(prompt, `${question}: `);
    } finally {
      prompt.close();
    }
  }

  /** Whether a person says yes, or the call was forced. */
  async confirm(question: string, isForced: boolean | undefined): Promise<boolean> {
    return isForced === true || /^y(es)?$/i.test((await this.ask(`${question} [yN]`)).trim());
  }

  /** Asks without showing what is typed. */
  async askHidden(question: string): Promise<string> {
    process.stdout.write(`${question}: `);
    const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
    const prompt = createInterface({ input: process.stdin, output: silent, terminal: process.stdin.isTTY });
    try {
      return await answerTo(prompt, '');
    } finally {
      prompt.close();
      process.stdout.write('\n');
    }
  }
}

/** Errors: CommandError EOF, as the public CLI says it, when the input ends before there is an answer. */
async function answerTo(prompt: Interface, question: string): Promise<string> {
  const ended = new Promise<undefined>((settle) => prompt.once('close', () => settle(undefined)));
  const answer = await Promise.race([prompt.question(question), ended]);
  if (answer === undefined) throw new CommandError('EOF');
  return answer;
}

function layOut(rows: readonly (readonly string[])[]): string[] {
  const width = (text: string): number => stripVTControlCharacters(text).length;
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(0, ...rows.map((row) => width(row[column] ?? ''))),
  );
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === row.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - width(cell) + 3),
      )
      .join('')
      .trimEnd(),
  );
}

/** A value of JSON as people read it: text as it is, all else as JSON. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Bytes as the public CLI writes them: 0, 12K, 3.4M, 1G. */
export function byteSize(bytes: number): string {
  for (const [unit, size] of [
    ['T', 1024 ** 4],
    ['G', 1024 ** 3],
    ['M', 1024 ** 2],
    ['K', 1024],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(1).replace(/\.0$/, '')}${unit}`;
  }
  return bytes === 0 ? '0' : `${bytes}B`;
}

/** `Mon, 23 Nov 2026 10:11:12 UTC`, as lists of the public CLI write dates. */
export function listDate(iso: string): string {
  return new Date(iso).toUTCString().replace(/GMT$/, 'UTC');
}

/** `Mon 23 Nov 10:11:12 UTC 2026`, in the local zone, as the public CLI writes dates. */
export function friendlyDate(iso: string): string {
  const date = new Date(iso);
  const part = (options: Intl.DateTimeFormatOptions): string => new Intl.DateTimeFormat('en-GB', options).format(date);
  const zone =
    new Intl.DateTimeFormat('en-US', { timeZoneName: 'short' })
      .formatToParts(date)
      .find((p) => p.type === 'timeZoneName')?.value ?? '';
  const two = (n: number): string => String(n).padStart(2, '0');
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${part({ weekday: 'short' })} ${two(date.getDate())} ${part({ month: 'short' })} ${time} ${zone} ${date.getFullYear()}`;
}
