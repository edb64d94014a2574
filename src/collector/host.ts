import { statfs } from 'node:fs/promises';
import { cpus, freemem, loadavg, totalmem } from 'node:os';
import { readFile } from 'node:fs/promises';
import { Gauge, type Registry } from 'prom-client';

/** Figures of the machine that the collector runs on: memory, load, disks. Read when asked for. */
export function measureHost(registry: Registry, disks: readonly string[]): void {
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number | Promise<number>): void => {
    void new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(await read());
      },
    });
  };
  gauge('host_memory_total_bytes', 'memory of the machine', totalmem);
  gauge('host_memory_available_bytes', 'memory that could be had without swapping', availableMemory);
  gauge('host_cpus', 'processors of the machine', () => cpus().length);
  gauge('host_load1', 'mean of processes that ran or waited in the last minute', () => loadavg()[0] ?? 0);
  gauge('host_load15', 'as host_load1, for 15 minutes', () => loadavg()[2] ?? 0);
  const labelNames = ['path'];
  const total = new Gauge({ name: 'host_disk_total_bytes', help: 'size of a file system', labelNames, registers });
  const inodes = new Gauge({ name: 'host_disk_free_inodes', help: 'files that could be made', labelNames, registers });
  void new Gauge({
    name: 'host_disk_available_bytes',
    help: 'what may still be written to a file system',
    labelNames,
    registers,
    async collect() {
      for (const path of disks) {
        const disk = await statfs(path).catch(() => undefined);
        if (!disk) continue;
        this.set({ path }, disk.bavail * disk.bsize);
        total.set({ path }, disk.blocks * disk.bsize);
        inodes.set({ path }, disk.ffree);
      }
    },
  });
}

async function availableMemory(): Promise<number> {
  const text = await readFile('/proc/meminfo', 'utf8').catch(() => '');
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(text);
  return match ? Number(match[1]) * 1024 : freemem();
}
