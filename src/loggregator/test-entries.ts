import type { Entry, Origin } from './chunk.ts';

/** Entries for tests. */
export const web: Origin = { instance_id: '0', tags: { source_type: 'APP/PROC/WEB', process_id: 'p' } };

export function line(timestamp: bigint | number, text = `line ${timestamp}`, origin = web): Entry {
  return { timestamp: BigInt(timestamp), kind: 'OUT', origin, payload: Buffer.from(text) };
}

export function gauge(timestamp: bigint | number, name: string, value: number): Entry {
  const payload = Buffer.from(JSON.stringify({ metrics: { [name]: { unit: '', value } } }));
  return { timestamp: BigInt(timestamp), kind: 'GAUGE', origin: web, payload };
}
