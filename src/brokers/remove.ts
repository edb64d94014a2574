import type { Clock } from '#kernel/clock.ts';
import { removeCgroup } from './engines/cgroup.ts';
import { endRecorded } from './engines/record.ts';

/** Ends the servers that a broker process which was killed left running. They keep what they hold on disk. */
export async function endEngines(of: { state_folder: string; cgroup: string }, clock: Clock): Promise<void> {
  await endRecorded(of.state_folder, clock);
  removeCgroup(of.cgroup);
}
