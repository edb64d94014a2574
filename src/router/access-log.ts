import { closeSync, openSync, write } from 'node:fs';
import { LF } from './bytes.ts';
import { describeError } from '#kernel/errors.ts';
import type { Log } from '#kernel/log.ts';
import type { AppLog } from './app-log.ts';
import type { Exchange } from './exchange.ts';

const FLUSH_CHARS = 65_536;
/** A disk that hangs must not take the memory: what is above this is dropped and counted. */
const MAX_WAITING_CHARS = 16 * 1024 * 1024;

export interface AccessLogOptions {
  log: Log;
  file?: string | undefined;
  flush_interval_ms: number;
  /** Takes the lines of requests that went to an app. */
  appLog?: AppLog | undefined;
}

/** One line a request, in gorouter's form, written in batches. */
export class AccessLog implements AsyncDisposable {
  readonly #options: AccessLogOptions;
  #fd: number | undefined;
  #waiting = '';
  #isWriting = false;
  #dropped = 0;
  #hasFailed = false;
  #wantsReopen = false;
  readonly #timer: NodeJS.Timeout;
  readonly #idle: (() => void)[] = [];
  #secondText = '';
  #second = -1;

  constructor(options: AccessLogOptions) {
    this.#options = options;
    this.#open();
    this.#timer = setInterval(() => this.#flush(), options.flush_interval_ms);
    this.#timer.unref();
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** Opens the file anew, after a rotation; a batch under way goes to the old one. */
  reopen(): void {
    this.#flush();
    if (this.#isWriting) this.#wantsReopen = true;
    else this.#reopenNow();
  }

  write(exchange: Exchange): void {
    const { endpoint } = exchange;
    const { appLog } = this.#options;
    const isForApp =
      appLog !== undefined && endpoint !== undefined && endpoint.app !== '' && appLog.mayTake(endpoint.app);
    if (this.#fd === undefined && !isForApp) return;
    const line = this.lineOf(exchange);
    if (isForApp) appLog.add(endpoint, line, exchange);
    if (this.#fd === undefined) return;
    if (this.#waiting.length > MAX_WAITING_CHARS) {
      this.#dropped++;
      return;
    }
    this.#waiting += `${line}\n`;
    if (this.#waiting.length >= FLUSH_CHARS) this.#flush();
  }

  lineOf(exchange: Exchange): string {
    const { head, endpoint, front } = exchange;
    const app = endpoint === undefined ? 'app_id:"-" app_index:"-" instance_id:"-"' : endpoint.use.logText;
    const forwardedFor =
      head.forwardedFor === '' ? front.remoteAddress : `${quotable(head.forwardedFor)}, ${front.remoteAddress}`;
    return (
      `${head.hostLine === '' ? '-' : quotable(head.hostLine)} - [${this.#timeText(exchange.startedAt_ms)}] "${head.method} ${quotable(head.target)} ${front.protocol}" ` +
      `${exchange.status} ${exchange.bytesIn} ${exchange.bytesOut} "${textOrDash(head.referer)}" "${textOrDash(head.userAgent)}" ` +
      `"${front.remoteText}" "${endpoint === undefined ? '-' : endpoint.address}" x_forwarded_for:"${forwardedFor}" ` +
      `x_forwarded_proto:"${quotable(exchange.forwardedProto)}" vcap_request_id:"${exchange.requestId}" response_time:${seconds(exchange.took_ms)} ` +
      `gorouter_time:${seconds(exchange.ownTime_ms)} ${app} failed_attempts:${exchange.failedAttempts} ` +
      `x_cf_routererror:"${exchange.routerError === '' ? '-' : exchange.routerError}"`
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#flush();
    if (this.#isWriting) await new Promise<void>((resolve) => this.#idle.push(resolve));
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): void {
    if (this.#options.file !== undefined) this.#fd = openSync(this.#options.file, 'a');
  }

  #reopenNow(): void {
    this.#wantsReopen = false;
    const before = this.#fd;
    try {
      this.#open();
      if (before !== undefined) closeSync(before);
    } catch (error) {
      this.#options.log.error({ error: describeError(error) }, 'access log cannot be opened anew, the old file stays');
    }
  }

  #flush(): void {
    const fd = this.#fd;
    if (this.#isWriting || this.#waiting === '' || fd === undefined) return;
    const batch = Buffer.from(this.#waiting, 'latin1');
    this.#waiting = '';
    this.#isWriting = true;
    this.#writeAll(fd, batch, 0);
  }

  #writeAll(fd: number, batch: Buffer, from: number): void {
    write(fd, batch, from, batch.length - from, null, (error, written) => {
      if (error === null && from + written < batch.length) return this.#writeAll(fd, batch, from + written);
      if (error !== null) this.#lost(batch, from, error);
      this.#hasFailed = error !== null;
      this.#isWriting = false;
      if (this.#wantsReopen) this.#reopenNow();
      if (this.#waiting.length >= FLUSH_CHARS || this.#idle.length > 0) this.#flush();
      if (!this.#isWriting) for (const resolve of this.#idle.splice(0)) resolve();
    });
  }

  /** Counted line by line, told once: a full disk stays full for many batches. */
  #lost(batch: Buffer, from: number, error: Error): void {
    for (let at = batch.indexOf(LF, from); at >= 0; at = batch.indexOf(LF, at + 1)) this.#dropped++;
    if (!this.#hasFailed) this.#options.log.error({ error: describeError(error) }, 'access log cannot be written');
  }

  #timeText(at_ms: number): string {
    const second = Math.floor(at_ms / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, 20);
    }
    const ms = Math.floor(at_ms - second * 1000);
    return `${this.#secondText}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}000000Z`;
  }
}

function textOrDash(value: string): string {
  return value === '' ? '-' : quotable(value);
}

/** A quote inside a quoted field would let a client write fields of its own. */
function quotable(value: string): string {
  return value.includes('"') || value.includes('\\') ? value.replaceAll(/["\\]/g, (char) => `\\${char}`) : value;
}

function seconds(ms: number): string {
  const micros = Math.max(0, Math.round(ms * 1000));
  const whole = Math.floor(micros / 1_000_000);
  return `${whole}.${String(1_000_000 + (micros - whole * 1_000_000)).slice(1)}`;
}
