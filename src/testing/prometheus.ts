import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

export const hasPrometheus = spawnSync('prometheus', ['--version']).status === 0;

/** A real Prometheus that scrapes one address, if any, and takes remote writes. */
export class TestPrometheus implements AsyncDisposable {
  readonly url: string;
  readonly #folder: string;
  readonly #child: ChildProcess;

  private constructor(url: string, folder: string, child: ChildProcess) {
    this.url = url;
    this.#folder = folder;
    this.#child = child;
  }

  static async start(scrape?: {
    target: string;
    login: { user: string; password: string };
    rules?: string;
  }): Promise<TestPrometheus> {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-prometheus-'));
    const port = await freePort();
    const job = {
      job_name: 'ingot',
      honor_labels: true,
      basic_auth: scrape && { username: scrape.login.user, password: scrape.login.password },
      static_configs: [{ targets: [scrape?.target] }],
    };
    const config = {
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      ...(scrape?.rules !== undefined && { rule_files: [scrape.rules] }),
      ...(scrape && { scrape_configs: [job] }),
    };
    // JSON is YAML.
    await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config));
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--web.enable-remote-write-receiver',
        '--log.level=warn',
      ],
      { stdio: 'ignore' },
    );
    const prometheus = new TestPrometheus(`http://127.0.0.1:${port}`, folder, child);
    await eventually('Prometheus is ready', async () => (await fetch(`${prometheus.url}/-/ready`)).ok);
    return prometheus;
  }

  /** The values of an instant query, by their labels. */
  async query(expression: string): Promise<{ metric: Record<string, string>; value: number }[]> {
    const answer = await fetch(`${this.url}/api/v1/query?query=${encodeURIComponent(expression)}`);
    const body = (await answer.json()) as {
      status: string;
      error?: string;
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    };
    if (body.status !== 'success') throw new Error(`Prometheus refuses ${expression}: ${body.error}`);
    return body.data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  async json<T>(path: string): Promise<T> {
    return (await (await fetch(`${this.url}${path}`)).json()) as T;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
    await rm(this.#folder, { recursive: true, force: true });
  }
}
