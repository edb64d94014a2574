import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A component in a process of its own, which can be killed and started again with the same configuration. */
export class ComponentProcess implements AsyncDisposable {
  readonly #room: string;
  readonly #schema: string;
  readonly #config: string;
  #child: ChildProcess | undefined;
  #output = '';

  private constructor(room: string, schema: string, config: string) {
    this.#room = room;
    this.#schema = schema;
    this.#config = config;
  }

  /** `folder` is where its configuration is written. Errors: with its last words, when it ends before it serves. */
  static async start(options: {
    room: string;
    schema: string;
    config: object;
    folder: string;
  }): Promise<ComponentProcess> {
    const path = join(options.folder, `${options.room}-${crypto.randomUUID()}.json`);
    await writeFile(path, JSON.stringify(options.config));
    const component = new ComponentProcess(options.room, options.schema, path);
    await component.resume();
    return component;
  }

  /** What it wrote since its last start, for a failing test to show. */
  get output(): string {
    return this.#output;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async resume(): Promise<void> {
    const runner = join(import.meta.dirname, 'run-component.ts');
    const child = spawn(process.execPath, [runner, this.#room, this.#schema, this.#config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#output = '';
    await new Promise<void>((resolve, reject) => {
      const hear = (text: string): void => {
        this.#output = (this.#output + text).slice(-200_000);
        if (this.#output.includes('\nready\n')) resolve();
      };
      child.stdout.setEncoding('utf8').on('data', hear);
      child.stderr.setEncoding('utf8').on('data', hear);
      child.once('error', reject);
      child.once('close', () =>
        reject(new Error(`${this.#room} ended before it served: ${this.#output.slice(-2000)}`)),
      );
    });
  }

  /** Resolves when it has ended. */
  async signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.signal('SIGTERM');
  }
}
