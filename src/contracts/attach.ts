/**
 * A process in a container whose streams the caller holds: warden's `attach`, and the DEA's door in front of it for `cf ssh`. Both
 * are HTTP upgrades to the protocol `ingot-attach`, after which both ends send frames: one byte of kind, four of length (big
 * endian), then so many bytes. The first frame is the caller's `start`; the last is the other end's `exit` or `error`.
 * A caller that goes away takes the process with it: HUP, and KILL a little later.
 */
import { z } from 'zod';
import { exchange } from './topic.ts';
import { SIGNALS, SpawnRequest } from './warden.ts';

export const ATTACH_PROTOCOL = 'ingot-attach';
/** Bytes as they come, without frames, to a port inside the container's network. */
export const DIAL_PROTOCOL = 'ingot-dial';

export const FRAME = {
  /** up: AttachRequest to warden, ShellRequest to a DEA */
  start: 0,
  /** up: to its stdin; down: its stdout, or its terminal */
  data: 1,
  /** down: its stderr */
  stderr: 2,
  /** up: nothing more comes for its stdin */
  eof: 3,
  /** up: TerminalSize */
  resize: 4,
  /** up: {signal}, to its process group */
  signal: 5,
  /** down: {exit_status} */
  exit: 6,
  /** down: {code, message}; it could not be started */
  error: 7,
} as const;
export type FrameKind = (typeof FRAME)[keyof typeof FRAME];

export const TerminalSize = z.object({
  columns: z.number().int().min(0).max(65_535),
  rows: z.number().int().min(0).max(65_535),
});
export type TerminalSize = z.infer<typeof TerminalSize>;

/** `tty` gives it a terminal, on which stdout and stderr are one. */
export const AttachRequest = SpawnRequest.omit({ job_id: true }).extend({ tty: TerminalSize.optional() });
export type AttachRequest = z.input<typeof AttachRequest>;

export const AttachSignal = z.object({ signal: z.enum(SIGNALS) });
export const AttachExit = z.object({ exit_status: z.number().int().describe('128 + n for signal n') });
export const AttachError = z.object({ code: z.string(), message: z.string() });

/** What a user wants of an instance: a shell, one command in it, or file transfer. */
export const ShellRequest = z.strictObject({
  what: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('shell') }),
    z.strictObject({ kind: z.literal('exec'), command: z.string() }),
    z.strictObject({ kind: z.literal('sftp') }),
  ]),
  tty: TerminalSize.extend({ term: z.string() }).optional(),
  env: z.array(z.tuple([z.string(), z.string()])).default([]),
});
export type ShellRequest = z.input<typeof ShellRequest>;

/** `instance` narrows it to the one that a session has begun with. */
export const SshTicketRequest = z.object({
  droplet: z.string().describe('guid of the process'),
  index: z.number().int(),
  instance: z.string().optional(),
});
export const SshTicket = z.object({
  dea: z.string(),
  instance: z.string(),
  app: z.string(),
  tags: z.record(z.string(), z.string()).describe('of envelopes that tell of the session'),
  host: z.string(),
  port: z.number().int(),
  ticket: z.string().describe('opens one stream, within 30 s: `Authorization: Bearer <ticket>`'),
});
export type SshTicket = z.infer<typeof SshTicket>;
/**
 * Asked of all DEAs; only the one that holds the instance answers, and only while its container is there. Then, over HTTP to that
 * DEA: `GET /attach` (ShellRequest as `start`), or `GET /dial?host=&port=`.
 */
export const deaSshTicket = exchange('dea.ssh.ticket', SshTicketRequest, SshTicket);
