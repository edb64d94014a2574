import type { ContainerLimits } from '#contracts/warden.ts';
import type { IdRange } from './id-mapping.ts';
import { seccompProfile } from './seccomp.ts';

/** The parts of the OCI runtime specification that we write; crun reads them. */
export interface OciProcess {
  terminal: boolean;
  user: { uid: number; gid: number; umask?: number; additionalGids?: number[] };
  args: string[];
  env: string[];
  cwd: string;
  capabilities: Record<'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient', string[]>;
  rlimits: { type: string; soft: number; hard: number }[];
  noNewPrivileges: boolean;
  oomScoreAdj?: number;
}

export interface OciMount {
  destination: string;
  source: string;
  type?: string;
  options: string[];
}

export interface SpecOptions {
  rootfs: string;
  hostname: string;
  /** path of what pid 1 runs: it reaps what is left without a parent, and nothing else */
  reaper: string;
  cgroup_path: string;
  ids: IdRange;
  limits: ContainerLimits;
  bind_mounts: readonly OciMount[];
  /** what crun compiled the seccomp profile to, base64; saves the compiling */
  seccomp_program?: string | undefined;
}

/** Cloud Foundry's set, for root of the container alone. */
const ROOT_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

const MASKED = [
  ...['acpi', 'asound', 'kcore', 'keys', 'latency_stats', 'timer_list', 'timer_stats', 'sched_debug', 'scsi'].map(
    (name) => `/proc/${name}`,
  ),
  '/proc/config.gz',
  '/sys/firmware',
  '/sys/fs/cgroup',
];
const READ_ONLY = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].map((name) => `/proc/${name}`);

export const STACK_REAPER = '/usr/bin/catatonit';

export function containerSpec(options: SpecOptions): object {
  const { rootfs, hostname, reaper, cgroup_path, ids, limits, bind_mounts, seccomp_program } = options;
  const mapping = [{ containerID: 0, hostID: ids.start, size: ids.size }];
  return {
    ociVersion: '1.0.2',
    root: { path: rootfs, readonly: false },
    hostname,
    process: processSpec({ args: [reaper, '-P'], env: [], cwd: '/', user: NO_PRIVILEGE, rlimits: {} }),
    mounts: [...SYSTEM_MOUNTS, ...bind_mounts],
    ...(seccomp_program === undefined ? {} : { annotations: { 'run.oci.seccomp_bpf_data': seccomp_program } }),
    linux: {
      cgroupsPath: cgroup_path,
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'user', 'network', 'cgroup'].map((type) => ({ type })),
      uidMappings: mapping,
      gidMappings: mapping,
      resources: resourcesSpec(limits),
      maskedPaths: MASKED,
      readonlyPaths: READ_ONLY,
      seccomp: seccompProfile(process.arch),
      rootfsPropagation: 'private',
    },
  };
}

export interface ProcessOptions {
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  /** Uid 0 has the capabilities of root in a container unless it is said to have none. */
  user: { uid: number; gid: number; additional_gids: number[]; has_capabilities?: boolean };
  rlimits: { nofile?: number | undefined; nproc?: number | undefined; core?: number | undefined };
  terminal?: boolean;
}

const NO_PRIVILEGE = { uid: 0, gid: 0, additional_gids: [], has_capabilities: false };

export function processSpec(options: ProcessOptions): OciProcess {
  const { uid, gid, additional_gids, has_capabilities = uid === 0 } = options.user;
  const capabilities = has_capabilities ? ROOT_CAPABILITIES : [];
  const rlimits = Object.entries({ core: 0, ...options.rlimits }).flatMap(([name, value]) =>
    value === undefined ? [] : [{ type: `RLIMIT_${name.toUpperCase()}`, soft: value, hard: value }],
  );
  return {
    terminal: options.terminal ?? false,
    user: { uid, gid, ...(additional_gids.length > 0 && { additionalGids: additional_gids }) },
    args: [...options.args],
    env: [...options.env],
    cwd: options.cwd,
    capabilities: {
      bounding: capabilities,
      effective: capabilities,
      permitted: capabilities,
      inheritable: [],
      ambient: [],
    },
    rlimits,
    noNewPrivileges: true,
  };
}

function resourcesSpec(limits: ContainerLimits): object {
  const PERIOD_US = 100_000;
  const cap =
    limits.cpu_quota === undefined ? {} : { quota: Math.round(limits.cpu_quota * PERIOD_US), period: PERIOD_US };
  return {
    // Swap counts as memory, so that a limit is a limit.
    memory: { limit: limits.memory_in_bytes, swap: limits.memory_in_bytes },
    cpu: { shares: limits.cpu_shares, ...cap },
    pids: { limit: limits.pids },
    devices: [{ allow: false, access: 'rwm' }],
  };
}

const SYSTEM_MOUNTS: OciMount[] = [
  { destination: '/proc', source: 'proc', type: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', source: 'tmpfs', type: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=64k'] },
  {
    destination: '/dev/pts',
    source: 'devpts',
    type: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  {
    destination: '/dev/shm',
    source: 'shm',
    type: 'tmpfs',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
  { destination: '/dev/mqueue', source: 'mqueue', type: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', source: 'sysfs', type: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
];
