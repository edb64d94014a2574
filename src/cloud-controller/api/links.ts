/** Makes absolute links of paths: `{ href: 'https://api.…/v3/apps/1' }`. */
export class Links {
  readonly #base: string;

  /** `base` is the API's URL as users reach it. */
  constructor(base: string) {
    this.#base = base.replace(/\/+$/, '');
  }

  href(path: string): string {
    return `${this.#base}${path}`;
  }

  to(path: string): { href: string } {
    return { href: this.href(path) };
  }

  with(path: string, method: 'POST' | 'PATCH' | 'PUT' | 'DELETE'): { href: string; method: string } {
    return { href: this.href(path), method };
  }
}

let lastShown = { second: NaN, text: '' };

/** A timestamp as the API shows it: UTC, to the second. Rows of a list often share one, and to write it costs most of a small row. */
export function presentTime(time: Date): string {
  const second = Math.floor(time.getTime() / 1000);
  if (second !== lastShown.second) lastShown = { second, text: `${time.toISOString().slice(0, 19)}Z` };
  return lastShown.text;
}

/** What every resource begins with. */
export function presentCommon(row: { guid: string; created_at: Date; updated_at: Date }): {
  guid: string;
  created_at: string;
  updated_at: string;
} {
  return { guid: row.guid, created_at: presentTime(row.created_at), updated_at: presentTime(row.updated_at) };
}

export interface Metadata {
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

export function presentMetadata(row: Metadata): { metadata: Metadata } {
  return { metadata: { labels: row.labels, annotations: row.annotations } };
}

/** `{ data: { guid } }`, or `{ data: null }` for none. */
export function toOne(guid: string | null): { data: { guid: string } | null } {
  return { data: guid === null ? null : { guid } };
}

export function toMany(guids: readonly string[]): { data: { guid: string }[] } {
  return { data: guids.map((guid) => ({ guid })) };
}
