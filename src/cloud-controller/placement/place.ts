/** What a DEA has left, as placement sees it. */
export interface Candidate {
  id: string;
  zone: string;
  /** Its name; undefined for DEAs of the shared segment. */
  isolation_segment?: string | undefined;
  stacks: readonly string[];
  available_memory: number;
  available_disk: number;
  total_memory?: number | undefined;
  total_disk?: number | undefined;
  /** Process guid to number of instances. */
  app_id_to_count: Readonly<Record<string, number>>;
}

export interface Demand {
  /** Process guid; for staging and tasks one of no other's, so that nothing is spread. */
  droplet: string;
  stack: string;
  /** That of the space or, where it has none, its organization; undefined for the shared one. */
  isolation_segment?: string | undefined;
  memory_mb: number;
  disk_mb: number;
  /** What it needs may be given by then to others, as long as it is there at all. */
  waits_for_room?: boolean;
  /** By DEA: those of the process that were told to go, which adverts still count. */
  leaving?: ReadonlyMap<string, number>;
}

export type Placement = { dea: string } | { refused: string };

/**
 * Picks the DEA for one instance: of those in the isolation segment with room and the stack, in the zone with fewest instances of
 * the process, those with fewest of it, of these the half with most free memory, and of that one at random. `random` gives [0, 1).
 * Source: cloud_controller_ng's DEA pool. A refusal says in words for the user what is lacking.
 */
export function place(candidates: readonly Candidate[], demand: Demand, random: () => number): Placement {
  if (candidates.length === 0) return { refused: 'insufficient resources: no DEA is available' };
  const within = candidates.filter((dea) => isSameSegment(dea.isolation_segment, demand.isolation_segment));
  if (within.length === 0) return { refused: `no DEA is in ${segmentInWords(demand.isolation_segment)}` };
  const withStack = within.filter((dea) => dea.stacks.includes(demand.stack));
  if (withStack.length === 0) return { refused: `no DEA offers the stack '${demand.stack}'` };
  const { waits_for_room = false } = demand;
  const diskOf = (dea: Candidate): number => (waits_for_room ? dea.total_disk : undefined) ?? dea.available_disk;
  const memoryOf = (dea: Candidate): number => (waits_for_room ? dea.total_memory : undefined) ?? dea.available_memory;
  const withDisk = withStack.filter((dea) => diskOf(dea) >= demand.disk_mb);
  if (withDisk.length === 0) return { refused: 'insufficient resources: disk' };
  const fitting = withDisk.filter((dea) => memoryOf(dea) >= demand.memory_mb);
  if (fitting.length === 0) return { refused: 'insufficient resources: memory' };
  const count = (dea: Candidate): number =>
    Math.max(0, (dea.app_id_to_count[demand.droplet] ?? 0) - (demand.leaving?.get(dea.id) ?? 0));
  const zones = new Map<string, number>();
  for (const dea of fitting) zones.set(dea.zone, (zones.get(dea.zone) ?? 0) + count(dea));
  const fewestInZone = Math.min(...zones.values());
  let best: Candidate[] = [];
  let fewest = Infinity;
  for (const dea of fitting) {
    if (zones.get(dea.zone) !== fewestInZone) continue;
    const held = count(dea);
    if (held > fewest) continue;
    if (held < fewest) best = [];
    fewest = held;
    best.push(dea);
  }
  best.sort((a, b) => b.available_memory - a.available_memory);
  const upperHalf = Math.ceil(best.length / 2);
  const picked = best[Math.floor(random() * upperHalf)];
  return picked === undefined ? { refused: 'insufficient resources: no DEA is available' } : { dea: picked.id };
}

/** Names of segments are told apart without case, as the API does. */
function isSameSegment(one: string | undefined, other: string | undefined): boolean {
  return one?.toLowerCase() === other?.toLowerCase();
}

function segmentInWords(name: string | undefined): string {
  return name === undefined ? 'the shared isolation segment' : `the isolation segment '${name}'`;
}
