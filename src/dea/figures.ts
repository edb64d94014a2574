import { Gauge, type Registry } from 'prom-client';
import type { LogEmitter } from '#bus/log-emitter.ts';
import type { Capacity } from './capacity.ts';
import type { Cell } from './cell.ts';
import type { Stager } from './staging/stager.ts';

/** What `/metrics` says of a DEA. */
export function addFigures(
  registry: Registry,
  parts: { cell: Cell; stager: Stager; capacity: Capacity; emitter: LogEmitter },
): void {
  const figures: [string, string, () => number][] = [
    ['dea_instances', 'Instances and tasks that this DEA holds', () => parts.cell.instances.length],
    ['dea_builds', 'Builds under way or waiting', () => parts.stager.count],
    ['dea_available_memory_mb', 'Memory that is not given away', () => parts.capacity.available().memory_mb],
    ['dea_available_disk_mb', 'Disk that is not given away', () => parts.capacity.available().disk_mb],
    ['dea_log_lines', 'Lines of output taken since the start', () => parts.emitter.linesTotal],
    ['dea_log_envelopes_dropped', 'Envelopes given up while the bus was away', () => parts.emitter.droppedTotal],
  ];
  for (const [name, help, read] of figures) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  }
}
