import type { Entry, Kind, Origin } from './chunk.ts';

/** log-cache says `source_id`, the stream gateway `sourceId`; both are JSON forms of loggregator v2's envelope. */
export type Spelling = 'snake' | 'camel';

const FIELD: Readonly<Record<Kind, string>> = {
  OUT: 'log',
  ERR: 'log',
  COUNTER: 'counter',
  GAUGE: 'gauge',
  TIMER: 'timer',
  EVENT: 'event',
};

/** Writes envelopes of one source as JSON text, `[{…},{…}]`. What entries share is put into words once. */
export function renderBatch(source_id: string, entries: readonly Entry[], spelling: Spelling): string {
  const origins = new Map<Origin, string>();
  const rendered = entries.map((entry) => {
    const { timestamp, origin } = entry;
    let middle = origins.get(origin);
    if (middle === undefined) {
      middle = renderOrigin(source_id, origin, spelling);
      origins.set(origin, middle);
    }
    return `{"timestamp":"${timestamp}",${middle},${renderContent(entry)}}`;
  });
  return `[${rendered.join(',')}]`;
}

function renderOrigin(source_id: string, origin: Origin, spelling: Spelling): string {
  const [source, instance] = spelling === 'snake' ? ['source_id', 'instance_id'] : ['sourceId', 'instanceId'];
  const { instance_id, tags } = origin;
  return `"${source}":${JSON.stringify(source_id)},"${instance}":${JSON.stringify(instance_id)},"tags":${JSON.stringify(tags)}`;
}

function renderContent({ kind, payload }: Entry): string {
  if (kind === 'OUT' || kind === 'ERR') return `"log":{"payload":"${payload.toString('base64')}","type":"${kind}"}`;
  return `"${FIELD[kind]}":${payload.toString('utf8')}`;
}
