import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer, json } from 'node:stream/consumers';
import { TaskResult } from '#contracts/cloud-controller.ts';
import { StagingResult } from '#contracts/staging.ts';
import { isAuthorized } from '#http/basic-auth.ts';

export const INTERNAL_API = { user: 'internal', password: 'secret' };

/** The part of the cloud controller that a DEA meets over HTTP: files to fetch and to put, and results that are taken. */
export class SimulatedController implements AsyncDisposable {
  /** What GET gives, and where PUT puts it, by path. */
  readonly files = new Map<string, Buffer>();
  readonly fetched: string[] = [];
  readonly staged = new Map<string, StagingResult>();
  readonly tasks = new Map<string, TaskResult>();
  /** What results are answered with; anything but 200 is not noted. */
  status = 200;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
  }

  static async start(): Promise<SimulatedController> {
    const controller = new SimulatedController();
    await new Promise<void>((resolve) => controller.#server.listen(0, '127.0.0.1', resolve));
    return controller;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Serves the bytes and gives URL and digest. */
  serve(path: string, bytes: Buffer): { uri: string; sha256: string } {
    this.files.set(path, bytes);
    return { uri: this.url + path, sha256: createHash('sha256').update(bytes).digest('hex') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    if (request.method === 'GET') {
      this.fetched.push(path);
      const bytes = this.files.get(path);
      response.writeHead(bytes ? 200 : 404, { 'Content-Length': bytes?.length ?? 0 }).end(bytes);
      return;
    }
    if (request.method === 'PUT') {
      const body = await buffer(request);
      if (Number(request.headers['content-length']) !== body.length) {
        response.writeHead(411).end();
        return;
      }
      this.files.set(path, body);
      response.writeHead(201).end();
      return;
    }
    const match = /^\/internal\/(staging|tasks)\/([^/]+)\/completed$/.exec(path);
    const body: unknown = await json(request);
    if (!match?.[2] || !isAuthorized(request.headers.authorization, INTERNAL_API)) {
      response.writeHead(match ? 401 : 404).end();
      return;
    }
    if (this.status === 200) {
      if (match[1] === 'staging') this.staged.set(match[2], StagingResult.parse(body));
      else this.tasks.set(match[2], TaskResult.parse(body));
    }
    response.writeHead(this.status).end();
  }
}
