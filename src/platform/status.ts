import type { Home } from './home.ts';
import { isAlive, listProcesses, memoryOf } from './process-record.ts';
import { supervisorOf } from './reach.ts';

/** Prints how everything is; true when all is up. */
export async function printStatus(home: Home): Promise<boolean> {
  const processes = listProcesses(home);
  if (!supervisorOf(home)) {
    console.log(`No platform is up in ${home.folder}.`);
    return false;
  }
  let total = 0;
  for (const record of processes) {
    const isUp = isAlive(record);
    const memory = isUp ? memoryOf(record.pid) / 1024 / 1024 : 0;
    total += memory;
    console.log(
      `${record.name.padEnd(12)} ${isUp ? 'up  ' : 'DOWN'}  pid ${String(record.pid).padEnd(8)} ${memory.toFixed(0).padStart(5)} MB  since ${record.since}`,
    );
  }
  console.log(`${'total'.padEnd(12)} ${' '.repeat(18)} ${total.toFixed(0).padStart(5)} MB`);
  return processes.every(isAlive);
}
