import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { formatAddress, type AddressRange } from './address.ts';
import {
  addAddress,
  addDefaultRoute,
  createVeth,
  deleteLink,
  EEXIST,
  indexOf,
  NetlinkError,
  setUp,
} from './netlink.ts';
import { inNetworkOf } from './syscalls.ts';

/** Where a container stands on the network: a /30 of the pool by its slot. */
export interface Place {
  /** the host's end of the pair */
  interface: string;
  host_ip: string;
  container_ip: string;
}

export const CONTAINER_INTERFACE = 'eth0';

/** Interfaces of this warden all begin so; at most 15 characters are left to the kernel's names. */
export function interfacePrefix(name: string): string {
  return `w${name}-`;
}

export function placeOf(slot: number, name: string, pool: AddressRange): Place {
  const base = pool.first + slot * 4;
  return {
    interface: `${interfacePrefix(name)}${slot.toString(36)}`,
    host_ip: formatAddress(base + 1),
    container_ip: formatAddress(base + 2),
  };
}

/** The last /30 is nobody's: the platform takes an address of it for services that containers may be let through to. */
export function slotsIn(pool: AddressRange): number {
  return Math.floor((pool.last - pool.first + 1) / 4) - 1;
}

/**
 * Joins the network namespace of process `pid` to the host by a point-to-point pair. IPv6 is off on both ends: nothing filters it
 * yet. `route_localnet` lets 127.0.0.1:host_port of the host reach the container; the firewall refuses the way back.
 */
export function connectContainer(pid: number, place: Place, mtu: number): void {
  const near = place.interface;
  const far = { name: CONTAINER_INTERFACE, pid, mtu };
  try {
    createVeth(near, far);
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.errno !== EEXIST) throw error;
    // The slot's last container: its interface is still on its way out.
    deleteLink(near);
    createVeth(near, far);
  }
  switchOn(`ipv6/conf/${near}/disable_ipv6`);
  switchOn(`ipv4/conf/${near}/route_localnet`);
  addAddress(indexOf(near), place.host_ip, 30);
  setUp(near);
  inNetworkOf(pid, () => {
    switchOn('ipv6/conf/all/disable_ipv6');
    setUp('lo');
    addAddress(indexOf(CONTAINER_INTERFACE), place.container_ip, 30);
    setUp(CONTAINER_INTERFACE);
    addDefaultRoute(place.host_ip);
  });
}

/** Of the interface that leads to the world: a container that sent larger packets would lose them where nobody says why. */
export function hostMtu(): number {
  const routes = readFileSync('/proc/net/route', 'utf8').split('\n').slice(1);
  const device = routes.map((line) => line.split('\t')).find((fields) => fields[1] === '00000000')?.[0];
  return device === undefined ? 1500 : Number(readFileSync(`/sys/class/net/${device}/mtu`, 'utf8'));
}

/** Containers reach the world through the host only when it forwards. */
export function enableForwarding(): void {
  switchOn('ipv4/ip_forward');
}

/** Of the network namespace that this thread is in. A kernel without IPv6 lacks some of these, and the need for them. */
function switchOn(key: string): void {
  const path = `/proc/sys/net/${key}`;
  if (existsSync(path)) writeFileSync(path, '1');
}
