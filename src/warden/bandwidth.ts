import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ContainerLimits } from '#contracts/warden.ts';
import { CONTAINER_INTERFACE, type Place } from './network.ts';

const execute = promisify(execFile);
/** Below this not even one packet gets through at once. */
const BURST_MIN_BYTES = 4096;

/** Holds what a container sends and what it receives to `rate` bytes per second each, by a token bucket on either end of its pair. */
export async function limitBandwidth(
  pid: number,
  place: Place,
  bandwidth: NonNullable<ContainerLimits['bandwidth']>,
): Promise<void> {
  const rate = `${bandwidth.rate * 8}bit`;
  const burst = `${Math.max(bandwidth.burst, BURST_MIN_BYTES)}b`;
  const bucket = ['root', 'tbf', 'rate', rate, 'burst', burst, 'latency', '100ms'];
  const inside = [`--net=/proc/${pid}/ns/net`, '--', 'tc', 'qdisc', 'replace', 'dev', CONTAINER_INTERFACE];
  await Promise.all([
    execute('tc', ['qdisc', 'replace', 'dev', place.interface, ...bucket]),
    execute('nsenter', [...inside, ...bucket]),
  ]);
}
