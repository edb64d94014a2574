import type { Entry } from './chunk.ts';

/** Whose log it is, as RFC 5424's HOSTNAME and APP-NAME. */
export interface SyslogOrigin {
  /** `<org>.<space>.<app>` */
  hostname: string;
  app_id: string;
}

/** Facility user: informational for standard output, error for standard error. */
const PRIORITY = { OUT: 14, ERR: 11 } as const;
/** Cloud Foundry's private enterprise number. */
const TAGS_ID = 'tags@47450';

/**
 * A log line as Cloud Foundry drains it: RFC 5424 with the envelope's tags as structured data and `[APP/PROC/WEB/0]` as PROCID.
 * Undefined for what is no log. Source: loggregator-agent-release's syslog converter.
 */
export function formatSyslog({ timestamp, kind, origin, payload }: Entry, from: SyslogOrigin): Buffer | undefined {
  if (kind !== 'OUT' && kind !== 'ERR') return undefined;
  const { instance_id, tags } = origin;
  const source = (tags['source_type'] ?? '').toUpperCase().replaceAll(' ', '-');
  const procid = printable(instance_id === '' ? `[${source}]` : `[${source}/${instance_id}]`, 128);
  const hostname = printable(from.hostname.replaceAll(' ', '-'), 255);
  const head = `<${PRIORITY[kind]}>1 ${rfc3339(timestamp)} ${hostname} ${printable(from.app_id, 48)} ${procid} - ${structuredData(tags)} `;
  // NUL ends a message for some receivers, and a newline for those without octet counting.
  const message = payload.includes(0) ? Buffer.from(payload.filter((byte) => byte !== 0)) : payload;
  return Buffer.concat([Buffer.from(head), message, Buffer.from('\n')]);
}

/** A message for a stream: its length in octets, then itself. Source: RFC 6587, 3.4.1. */
export function countOctets(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${message.length} `), message]);
}

/** ns as UTC with microseconds, the finest that RFC 5424 allows. */
function rfc3339(timestamp: bigint): string {
  const ms = timestamp / 1_000_000n;
  const micros = ((timestamp % 1_000_000n) / 1_000n).toString().padStart(3, '0');
  const date = new Date(Number(ms));
  const text = Number.isNaN(date.getTime()) ? '1970-01-01T00:00:00.000Z' : date.toISOString();
  return text.replace('Z', `${micros}+00:00`);
}

function structuredData(tags: Readonly<Record<string, string>>): string {
  const names = Object.keys(tags).sort();
  if (names.length === 0) return '-';
  const parameters = names.map((name) => `${parameterName(name)}="${(tags[name] ?? '').replace(/["\\\]]/g, '\\$&')}"`);
  return `[${TAGS_ID} ${parameters.join(' ')}]`;
}

/** Printable ASCII but no blank, `=`, `]` or `"`, at most 32. */
function parameterName(name: string): string {
  return printable(name, 32).replace(/[=\]"]/g, '_');
}

/** The header's fields are printable ASCII without blanks, and `-` when there is nothing to say. */
function printable(text: string, max: number): string {
  return text.replace(/[^\x21-\x7e]/g, '_').slice(0, max) || '-';
}
