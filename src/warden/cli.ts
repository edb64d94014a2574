import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import type { WardenClient } from '#http/warden-client.ts';
import type { WardenConfig } from './config.ts';
import { runFolder } from './namespace.ts';
import { processSpec } from './oci-spec.ts';
import { environmentOf, ROOT, VCAP } from './user.ts';

/** What `ingot warden …` does, for the operator of a machine. Errors of all: those of WardenClient. */

const MB = 1024 * 1024;

/** `ingot warden list`: a line for each container. */
export async function listContainers(client: WardenClient, out: Writable): Promise<void> {
  out.write(`${['handle', 'state', 'address', 'ports', 'memory', 'disk', 'jobs'].join('\t')}\n`);
  for (const { handle } of await client.list()) {
    const { state, container_ip, ports, memory_stat, disk_stat, job_ids } = await client.info(handle);
    const mapped = ports.map(({ host_port, container_port }) => `${host_port}:${container_port}`).join(',') || '-';
    const of = (used: number, limit: number) => `${Math.round(used / MB)}/${Math.round(limit / MB)}M`;
    const memory = of(memory_stat.usage, memory_stat.limit);
    const disk = of(disk_stat.bytes_used, disk_stat.bytes_limit);
    out.write(`${[handle, state, container_ip, mapped, memory, disk, job_ids.length].join('\t')}\n`);
  }
}

/** `ingot warden info HANDLE` */
export async function showContainer(client: WardenClient, handle: string, out: Writable): Promise<void> {
  out.write(`${JSON.stringify(await client.info(handle), null, 2)}\n`);
}

/** `ingot warden run HANDLE COMMAND…`: gives the exit status; output goes out as it comes. */
export async function runInContainer(
  client: WardenClient,
  options: { handle: string; args: string[]; user: 'vcap' | 'root' },
  out: { stdout: Writable; stderr: Writable },
): Promise<number> {
  const { handle, args, user } = options;
  const job_id = await client.spawn(handle, { args, user });
  for await (const line of client.stream(handle, job_id)) {
    if ('exit_status' in line) return line.exit_status;
    out[line.name].write(Buffer.concat([Buffer.from(line.data, 'base64'), Buffer.from(line.partial ? '' : '\n')]));
  }
  return -1;
}

/**
 * `ingot warden enter HANDLE`: a shell in the container on this terminal; gives its exit status. It is of this process, not of the
 * daemon, and ends with it.
 */
export async function enterContainer(
  config: Pick<WardenConfig, 'name' | 'depot'>,
  options: { handle: string; user: 'vcap' | 'root' },
): Promise<number> {
  const { handle } = options;
  const user = options.user === 'root' ? ROOT : VCAP;
  const folder = mkdtempSync(join(tmpdir(), 'ingot-enter-'));
  try {
    const spec = join(folder, 'process.json');
    const env = Object.entries({ ...environmentOf(user), TERM: 'xterm' }).map(([name, value]) => `${name}=${value}`);
    const shell = { args: ['/bin/bash', '-l'], env, cwd: '/', user, rlimits: {}, terminal: true };
    writeFileSync(spec, JSON.stringify(processSpec(shell)));
    const inside = [`--mount=${join(config.depot, 'namespace', 'mnt')}`, '--'];
    const crun = ['crun', `--root=${join(runFolder(config.name), 'crun')}`, 'exec', '--tty', '--process', spec, handle];
    const child = spawn('nsenter', [...inside, ...crun], { stdio: 'inherit' });
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? -1;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `ingot warden destroy HANDLE` */
export async function destroyContainer(client: WardenClient, handle: string): Promise<void> {
  await client.destroy(handle);
}
