import { unprocessable } from '#contracts/cf-errors.ts';
import type { DestinationColumns } from './destinations-store.ts';
import type { NewDestination } from './schema.ts';
import { routeUrl } from './presenter.ts';
import type { Destination, Route } from './store.ts';

const MAX_DESTINATIONS = 100;

/**
 * What changes when destinations are added, or put in the place of all: which rows are new, which stay, which go.
 * Errors: 422 for duplicates, wrong protocols, too many, and weights that do not sum to 100.
 */
export function mergeDestinations(
  route: Route,
  wanted: { add: readonly NewDestination[]; replace: boolean },
): { added: DestinationColumns[]; kept_guids: string[]; removed: Destination[] } {
  const columns = wanted.add.map((destination) => columnsOf(route, destination));
  const keys = columns.map(keyOf);
  if (new Set(keys).size !== keys.length) throw unprocessable('Destinations cannot contain duplicate entries');
  checkWeights(columns);
  const present = new Map(route.destinations.map((destination) => [keyOf(destination), destination]));
  const added: DestinationColumns[] = [];
  const kept = new Set<string>(wanted.replace ? [] : route.destinations.map(({ guid }) => guid));
  for (const destination of columns) {
    const same = present.get(keyOf(destination));
    if (!same) added.push(destination);
    else if (!wanted.replace && (same.protocol ?? 'http1') !== (destination.protocol ?? 'http1')) {
      throw unprocessable(
        `Cannot add destination with protocol: ${destination.protocol ?? 'http1'}. Destination already exists for route: ` +
          `${routeUrl(route)}, app: ${same.app_guid}, process: ${same.process_type}, and protocol: ${same.protocol ?? 'http1'}.`,
      );
    } else if (same.protocol === destination.protocol && same.weight === destination.weight) kept.add(same.guid);
    else if (wanted.replace) added.push(destination);
  }
  if (kept.size + added.length > MAX_DESTINATIONS) {
    throw unprocessable(`Routes can be mapped to at most ${MAX_DESTINATIONS} destinations.`);
  }
  const removed = route.destinations.filter(({ guid }) => !kept.has(guid));
  return { added, kept_guids: [...kept], removed };
}

/** `tcp` is for routes with ports, `http1` and `http2` for the others. */
export function faultOfProtocol(route: Pick<Route, 'router_group_guid'>, protocol: string | null): string | undefined {
  const isTcp = route.router_group_guid !== null;
  if (protocol === null || isTcp === (protocol === 'tcp')) return undefined;
  return isTcp
    ? `Cannot use '${protocol}' protocol for tcp routes; valid options are: [tcp].`
    : `Cannot use '${protocol}' protocol for http routes; valid options are: [http1, http2].`;
}

function columnsOf(route: Route, wanted: NewDestination): DestinationColumns {
  const fault = faultOfProtocol(route, wanted.protocol ?? null);
  if (fault !== undefined) throw unprocessable(fault);
  return {
    app_guid: wanted.app.guid,
    process_type: wanted.app.process?.type ?? 'web',
    port: wanted.port ?? null,
    protocol: wanted.protocol ?? null,
    weight: wanted.weight ?? null,
  };
}

function keyOf(destination: Pick<DestinationColumns, 'app_guid' | 'process_type' | 'port'>): string {
  return `${destination.app_guid} ${destination.process_type} ${destination.port ?? ''}`;
}

function checkWeights(columns: readonly DestinationColumns[]): void {
  const weighted = columns.filter(({ weight }) => weight !== null);
  if (weighted.length === 0) return;
  if (weighted.length !== columns.length)
    throw unprocessable('Destinations cannot contain both weighted and unweighted destinations');
  const sum = weighted.reduce((total, { weight }) => total + (weight ?? 0), 0);
  if (sum !== 100) throw unprocessable('Destinations must have weights that add up to 100');
}
