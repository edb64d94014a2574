import type { Readable, Writable } from 'node:stream';
import type { Socket } from 'node:net';
import type { z } from 'zod';
import type {
  ContainerInfo,
  ContainerLimits,
  ContainerList,
  CreateReply,
  CreateRequest,
  JobOutput,
  JobResult,
  LimitRequest,
  NetInRequest,
  NetworkState,
  PortMapping,
  SignalName,
  SpawnRequest,
  WardenFacts,
} from '#contracts/warden.ts';
import type { EgressRule } from '#contracts/dea.ts';

/** What the API asks of whatever makes the containers: the verbs of contracts/warden.ts, with their errors. */
export interface Backend {
  facts(): WardenFacts;
  list(): ContainerList['containers'];
  setNetwork(state: NetworkState): void;
  convertLayer(path: string): Promise<void>;
  find(handle: string): BackendContainer;
  create(request: z.output<typeof CreateRequest>): Promise<BackendContainer>;
  destroy(handle: string): Promise<void>;
}

export interface BackendJob {
  readonly job_id: string;
  readonly end: Promise<JobResult>;
}

export interface BackendContainer {
  describe(): CreateReply;
  info(): ContainerInfo | Promise<ContainerInfo>;
  spawn(request: SpawnRequest): Promise<BackendJob>;
  run(request: SpawnRequest, signal: AbortSignal): Promise<JobResult>;
  /** What the named job ends with. */
  link(job_id: string): Promise<JobResult>;
  /** Its output from a byte on. Errors, before the first line: WardenError job_not_found. */
  output(job_id: string, offset: number, signal: AbortSignal): AsyncGenerator<JobOutput>;
  signal(job_id: string, signal: SignalName): void;
  stop(options: { grace_s: number; kill: boolean }): Promise<void>;
  netIn(request: NetInRequest): Promise<PortMapping>;
  netOut(rules: EgressRule[]): Promise<void>;
  limit(change: LimitRequest): Promise<ContainerLimits>;
  copyIn(options: { path: string; tar: Readable }): Promise<void>;
  /** `begin` is called before the first byte is written. */
  copyOut(options: { path: string; begin: () => void; to: Writable }): Promise<void>;
  /** Errors: WardenError container_state. */
  mustRun(): unknown;
  /** Serves one attached process over the socket, which speaks contracts/attach.ts. */
  attach(socket: Socket): Promise<void>;
  dial(target: { host: string; port: number }): Promise<Socket>;
}
