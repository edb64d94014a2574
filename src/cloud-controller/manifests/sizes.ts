const UNITS: Readonly<Record<string, number>> = { B: 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** `256M`, `1 GB`, `1.5g`: bytes. Undefined when it has no unit that we know. */
export function parseBytes(text: unknown): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([BKMGT])B?$/i.exec(String(text).trim());
  const unit = UNITS[match?.[2]?.toUpperCase() ?? ''];
  return match === null || unit === undefined ? undefined : Math.floor(Number(match[1]) * unit);
}

export function parseMegabytes(text: unknown): number | undefined {
  const bytes = parseBytes(text);
  return bytes === undefined ? undefined : Math.floor(bytes / 2 ** 20);
}

/** A log rate: a size, or -1 for no limit, or 0. */
export function parseLogRate(text: unknown): number | undefined {
  return /^(-1|0)$/.test(String(text).trim()) ? Number(text) : parseBytes(text);
}

export function showMegabytes(megabytes: number): string {
  return `${megabytes}M`;
}

export function showLogRate(bytes: number): string | number {
  if (bytes <= 0) return bytes;
  const unit = (['G', 'M', 'K'] as const).find((name) => bytes % (UNITS[name] ?? 1) === 0);
  return unit === undefined ? `${bytes}B` : `${bytes / (UNITS[unit] ?? 1)}${unit}`;
}
