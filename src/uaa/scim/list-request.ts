import { UaaError } from '../errors.ts';
import type { Parameters } from '../grants/grant-request.ts';
import { parseFilter } from './filter.ts';
import type { Page, PageQuery } from './store-page.ts';

export interface ListRequest {
  page: PageQuery;
  /** Attributes to show; undefined for all. */
  attributes: string[] | undefined;
}

const DEFAULT_COUNT = 100;
const MAX_COUNT = 500;

/** The query of a SCIM list: filter, sortBy, sortOrder, startIndex (from 1), count (at most 500), attributes. Errors: scim. */
export function parseListRequest(query: Parameters): ListRequest {
  const filter = query['filter'];
  const sortOrder = query['sortOrder']?.toLowerCase() ?? 'ascending';
  if (sortOrder !== 'ascending' && sortOrder !== 'descending')
    throw new UaaError('scim', 'sortOrder is ascending or descending');
  return {
    page: {
      ...(filter !== undefined && filter.trim() !== '' && { filter: parseFilter(filter) }),
      ...(query['sortBy'] !== undefined && query['sortBy'] !== '' && { sortBy: query['sortBy'] }),
      isDescending: sortOrder === 'descending',
      startIndex: Math.max(1, whole(query, 'startIndex', 1)),
      count: Math.min(MAX_COUNT, Math.max(0, whole(query, 'count', DEFAULT_COUNT))),
    },
    attributes: query['attributes']
      ?.split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  };
}

function whole(query: Parameters, name: string, otherwise: number): number {
  const text = query[name];
  if (text === undefined || text === '') return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || Math.abs(value) > 2 ** 31)
    throw new UaaError('scim', `${name} is not a whole number`);
  return value;
}

export interface ListResponse {
  resources: object[];
  startIndex: number;
  itemsPerPage: number;
  totalResults: number;
  schemas: string[];
}

export const SCHEMA = 'urn:scim:schemas:core:1.0';

export function presentList<Row>(page: Page<Row>, request: ListRequest, resources: object[]): ListResponse {
  return {
    resources: resources.map((resource) => select(resource, request.attributes)),
    startIndex: request.page.startIndex,
    itemsPerPage: request.page.count,
    totalResults: page.totalResults,
    schemas: [SCHEMA],
  };
}

/** Only the attributes asked for, by their names in any case; `emails.value` and the like keep the whole they are part of. */
function select(resource: object, attributes: readonly string[] | undefined): object {
  if (attributes === undefined || attributes.length === 0) return resource;
  const wanted = new Set(attributes.map((name) => name.toLowerCase().split('.')[0]));
  return Object.fromEntries(Object.entries(resource).filter(([name]) => wanted.has(name.toLowerCase())));
}

/**
 * The version that a change is meant for, of `If-Match`: a number, perhaps in quotes, or undefined for `*`.
 * Errors: scim when the header is missing or no version.
 */
export function versionOf(header: string | undefined, method: 'PUT' | 'PATCH' | 'DELETE'): number | undefined {
  if (header === undefined) {
    if (method === 'DELETE') return undefined;
    throw new UaaError('scim', `Missing If-Match for ${method}`);
  }
  const text = header.trim().replace(/^W\//, '').replaceAll('"', '');
  if (text === '*') return undefined;
  if (!/^-?\d{1,9}$/.test(text)) throw new UaaError('scim', `Invalid version match header: ${header.slice(0, 40)}`);
  const version = Number(text);
  return version < 0 ? undefined : version;
}
