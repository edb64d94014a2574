import { z } from 'zod';
import { unprocessable } from '#contracts/cf-errors.ts';
import type { Metadata } from './links.ts';

const MAX_LABELS = 50;
const MAX_ANNOTATIONS = 200;
const MAX_ANNOTATION_LENGTH = 5000;
const MAX_PREFIX_LENGTH = 253;
const MAX_KEY_LENGTH = 63;

/** What requests send as `metadata`: null removes. Its rules are checked by `checkMetadata`. */
export const MetadataUpdate = z.strictObject({
  labels: z.record(z.string(), z.string().nullable()).optional(),
  annotations: z.record(z.string(), z.string().nullable()).optional(),
});
export type MetadataUpdate = z.infer<typeof MetadataUpdate>;

/**
 * The metadata after an update of what is there (nothing, for a new resource). Source: the v3 documentation, "Metadata".
 * Errors: 422 with the rule that a key or value breaks.
 */
export function mergeMetadata(current: Metadata, update: MetadataUpdate | undefined): Metadata {
  if (update === undefined) return current;
  const faults = [
    ...Object.entries(update.labels ?? {}).flatMap(([key, value]) => labelFaults(key, value)),
    ...Object.entries(update.annotations ?? {}).flatMap(([key, value]) => annotationFaults(key, value)),
  ];
  const merged: Metadata = {
    labels: merge(current.labels, update.labels),
    annotations: merge(current.annotations, update.annotations),
  };
  if (Object.keys(merged.labels).length > MAX_LABELS) {
    faults.push(
      `Failed to add ${Object.keys(update.labels ?? {}).length} labels because it would exceed maximum of ${MAX_LABELS}`,
    );
  }
  if (Object.keys(merged.annotations).length > MAX_ANNOTATIONS) {
    faults.push(
      `Failed to add ${Object.keys(update.annotations ?? {}).length} annotations because it would exceed maximum of ${MAX_ANNOTATIONS}`,
    );
  }
  if (faults.length > 0) throw unprocessable(faults);
  return merged;
}

/** The two columns to write, merged. */
export function metadataColumns(
  current: Metadata | undefined,
  update: MetadataUpdate | undefined,
): { labels: string; annotations: string } {
  const merged = mergeMetadata(current ?? { labels: {}, annotations: {} }, update);
  return { labels: JSON.stringify(merged.labels), annotations: JSON.stringify(merged.annotations) };
}

function merge(current: Record<string, string>, update: Record<string, string | null> = {}): Record<string, string> {
  const merged = new Map(Object.entries(current));
  for (const [key, value] of Object.entries(update)) {
    if (value === null) merged.delete(key);
    else merged.set(key, value);
  }
  return Object.fromEntries(merged);
}

function labelFaults(key: string, value: string | null): string[] {
  const faults = keyFaults('label', key);
  if (value === null || value === '') return faults;
  if (value.length > MAX_KEY_LENGTH) {
    faults.push(`Metadata label value error: '${value.slice(0, 8)}...' is greater than ${MAX_KEY_LENGTH} characters`);
  } else if (!/^[\w\-.]+$/.test(value)) {
    faults.push(`Metadata label value error: '${value}' contains invalid characters`);
  } else if (!/^[A-Za-z0-9].*$/.test(value) || !/^.*[A-Za-z0-9]$/.test(value)) {
    faults.push(`Metadata label value error: '${value}' starts or ends with invalid characters`);
  }
  return faults;
}

function annotationFaults(key: string, value: string | null): string[] {
  const faults = keyFaults('annotation', key);
  if (value !== null && value.length > MAX_ANNOTATION_LENGTH) {
    faults.push(
      `Metadata annotation value error: '${value.slice(0, 8)}...' is greater than ${MAX_ANNOTATION_LENGTH} characters`,
    );
  }
  return faults;
}

function keyFaults(kind: 'label' | 'annotation', whole: string): string[] {
  const fault = (text: string): string[] => [`Metadata ${kind} key error: ${text}`];
  const parts = whole.split('/');
  if (parts.length > 2) return fault("key has more than one '/'");
  const [prefix, key] = parts.length === 2 ? [parts[0] ?? '', parts[1] ?? ''] : [undefined, whole];
  if (prefix !== undefined) {
    if (prefix === '') return fault('prefix cannot be empty');
    if (prefix.length > MAX_PREFIX_LENGTH) {
      return fault(`prefix '${prefix.slice(0, 8)}...' is greater than ${MAX_PREFIX_LENGTH} characters`);
    }
    if (!/^([a-z\d]([-a-z\d]*[a-z\d])?\.)+[a-z]{2,}$/i.test(prefix)) {
      return fault(`prefix '${prefix}' must be in valid dns format`);
    }
    if (prefix.toLowerCase() === 'cloudfoundry.org') return fault("prefix 'cloudfoundry.org' is reserved");
  }
  if (key === '') return fault('key cannot be empty string');
  if (key.length > MAX_KEY_LENGTH) return fault(`'${key.slice(0, 8)}...' is greater than ${MAX_KEY_LENGTH} characters`);
  if (!/^[\w\-.]+$/.test(key)) return fault(`'${key}' contains invalid characters`);
  if (!/^[A-Za-z0-9]/.test(key) || !/[A-Za-z0-9]$/.test(key)) {
    return fault(`'${key}' starts or ends with invalid characters`);
  }
  return [];
}
