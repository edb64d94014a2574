import type { EgressRule } from '#contracts/dea.ts';
import type { PortMapping } from '#contracts/warden.ts';
import { formatAddress, isWithin, parseCidr, parseDestination, type AddressRange } from './address.ts';
import type { Place } from './network.ts';
import { interfacePrefix } from './network.ts';

/**
 * What the firewall of one warden says, as nftables text. One table; each container has an element in three maps and two
 * chains: `out-<slot>` for what it may reach elsewhere, `host-<slot>` for what it may reach on the host.
 */
export interface FirewallSettings {
  name: string;
  pool: AddressRange;
  /** `address:port[/udp]` of the host that all containers may reach */
  allow_host_access: readonly string[];
  /** of the host's loopback, where the name server of containers listens */
  dns_port: number;
}

export interface ContainerRules {
  slot: number;
  place: Place;
  ports: readonly PortMapping[];
  net_out: readonly EgressRule[];
}

/** What passes between a container here and a peer, here or elsewhere; no two of one table overlap. */
export interface Flow {
  direction: 'from' | 'to';
  /** of the container */
  address: string;
  peer: string;
  protocol: 'tcp' | 'udp';
  first_port: number;
  last_port: number;
}

export interface FlowTable {
  flows: readonly Flow[];
  /** of containers elsewhere: what no flow says is refused, whatever an egress rule says */
  networks: readonly AddressRange[];
}

/** A rule that makes no sense; the message names what is wrong. */
export class InvalidRule extends Error {}

const METADATA = '169.254.0.0/16';

export function tableName(name: string): string {
  return `ingot_${name}`;
}

/** The whole table with all containers, replacing what stands, in one transaction. */
export function tableText(
  settings: FirewallSettings,
  containers: readonly ContainerRules[],
  between: FlowTable,
): string {
  const table = `inet ${tableName(settings.name)}`;
  return [
    `add table ${table}`,
    `delete table ${table}`,
    staticText(settings),
    ...containers.map((container) => addContainerText(settings, container)),
    replaceFlowsText(settings, { flows: [], networks: [] }, between),
  ].join('\n');
}

function staticText(settings: FirewallSettings): string {
  const ours = `"${interfacePrefix(settings.name)}*"`;
  const host = settings.allow_host_access.map((entry) => {
    const [target = '', protocol = 'tcp'] = entry.split(/\/(?=tcp|udp)/);
    const [address = '', port = ''] = target.split(':');
    return `    ip daddr ${address} ${protocol} dport ${port} accept`;
  });
  const gateways = `ip daddr ${rangeText(settings.pool)} fib daddr type local`;
  const { dns_port } = settings;
  const flow = 'ip saddr . ip daddr . meta l4proto . th dport';
  return `table inet ${tableName(settings.name)} {
  map in_ports { type inet_service : ipv4_addr . inet_service; }
  map out { type ipv4_addr : verdict; }
  map host { type ipv4_addr : verdict; }
  set bound { type ifname . ipv4_addr; }
  set networks { type ipv4_addr; flags interval; }
  set flows_from { type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval; }
  set flows_to { type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval; }
  chain source {
    type filter hook prerouting priority raw; policy accept;
    iifname ${ours} jump spoof
  }
  chain spoof {
    meta nfproto ipv6 drop
    iifname . ip saddr != @bound counter drop
    ip daddr 127.0.0.0/8 drop
  }
  chain incoming {
    type nat hook prerouting priority dstnat; policy accept;
    iifname ${ours} ${gateways} udp dport 53 dnat ip to 127.0.0.1:${dns_port}
    iifname ${ours} ${gateways} tcp dport 53 dnat ip to 127.0.0.1:${dns_port}
    fib daddr type local dnat ip to tcp dport map @in_ports
  }
  chain local {
    type nat hook output priority -100; policy accept;
    fib daddr type local dnat ip to tcp dport map @in_ports
  }
  chain outgoing {
    type nat hook postrouting priority srcnat; policy accept;
    oifname ${ours} ip saddr 127.0.0.0/8 masquerade
    iifname ${ours} ${flow} @flows_from accept
    iifname ${ours} oifname ${ours} masquerade
    iifname ${ours} masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname ${ours} goto from_container
    oifname ${ours} goto to_container
  }
  chain from_container {
    ct state established,related accept
    ${flow} @flows_from goto flowing
    ip saddr vmap @out
    goto refuse
  }
  chain flowing {
    oifname != ${ours} accept
    ${flow} @flows_to accept
    goto refuse
  }
  chain to_container {
    ct state established,related accept
    ${flow} @flows_to accept
    ct status dnat accept
    drop
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname ${ours} goto to_host
  }
  chain to_host {
    ct state established,related accept
    ct status dnat ip daddr 127.0.0.1 meta l4proto { tcp, udp } th dport ${dns_port} accept
${host.join('\n')}
    ip saddr vmap @host
    goto refuse
  }
  chain output {
    type filter hook output priority filter; policy accept;
    oifname ${ours} icmp type destination-unreachable icmp code port-unreachable drop
  }
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }
}`;
}

export function addContainerText(settings: FirewallSettings, container: ContainerRules): string {
  const table = `inet ${tableName(settings.name)}`;
  const { slot, place } = container;
  const lines = [
    `add chain ${table} out-${slot}`,
    `add chain ${table} host-${slot}`,
    ...ruleLines(settings, container),
    `add element ${table} bound { "${place.interface}" . ${place.container_ip} }`,
    `add element ${table} out { ${place.container_ip} : goto out-${slot} }`,
    `add element ${table} host { ${place.container_ip} : goto host-${slot} }`,
    ...container.ports.map((mapping) => addPortText(settings, place, mapping)),
  ];
  return lines.join('\n');
}

export function addPortText(settings: FirewallSettings, place: Place, mapping: PortMapping): string {
  const target = `${place.container_ip} . ${mapping.container_port}`;
  return `add element inet ${tableName(settings.name)} in_ports { ${mapping.host_port} : ${target} }`;
}

/** Turns one table of flows into another; nothing to do gives no text. */
export function replaceFlowsText(settings: FirewallSettings, before: FlowTable, after: FlowTable): string {
  const table = `inet ${tableName(settings.name)}`;
  const [old, wanted] = [before, after].map(({ flows }) => new Set(flows.map(elementOf))) as [Set<string>, Set<string>];
  const [networks_before, networks] = [before, after].map((side) => side.networks.map(rangeText).join(', '));
  return [
    ...[...old.difference(wanted)].map((element) => `delete element ${table} ${element}`),
    ...[...wanted.difference(old)].map((element) => `add element ${table} ${element}`),
    ...(networks === networks_before ? [] : [`flush set ${table} networks`]),
    ...(networks === networks_before || networks === '' ? [] : [`add element ${table} networks { ${networks} }`]),
  ].join('\n');
}

function elementOf({ direction, address, peer, protocol, first_port, last_port }: Flow): string {
  const ports = first_port === last_port ? String(first_port) : `${first_port}-${last_port}`;
  const ends = direction === 'from' ? `${address} . ${peer}` : `${peer} . ${address}`;
  return `flows_${direction} { ${ends} . ${protocol} . ${ports} }`;
}

function rangeText({ first, last }: AddressRange): string {
  return first === last ? formatAddress(first) : `${formatAddress(first)}-${formatAddress(last)}`;
}

export function replaceRulesText(settings: FirewallSettings, container: ContainerRules): string {
  const table = `inet ${tableName(settings.name)}`;
  return [
    `flush chain ${table} out-${container.slot}`,
    `flush chain ${table} host-${container.slot}`,
    ...ruleLines(settings, container),
  ].join('\n');
}

/** With the flows that it still has, so that its address brings none to the next who gets it. */
export function removeContainerText(
  settings: FirewallSettings,
  container: ContainerRules,
  between: { before: FlowTable; after: FlowTable },
): string {
  const table = `inet ${tableName(settings.name)}`;
  const { slot, place } = container;
  return [
    replaceFlowsText(settings, between.before, between.after),
    ...container.ports.map((mapping) => `delete element ${table} in_ports { ${mapping.host_port} }`),
    `delete element ${table} out { ${place.container_ip} }`,
    `delete element ${table} host { ${place.container_ip} }`,
    `delete element ${table} bound { "${place.interface}" . ${place.container_ip} }`,
    `delete chain ${table} out-${slot}`,
    `delete chain ${table} host-${slot}`,
  ].join('\n');
}

/**
 * A rule covers other containers or metadata addresses only when its destination lies within those networks as a whole, and a
 * service of the host only when it names that one address: `0.0.0.0/0` means the world, not the platform's insides.
 */
function ruleLines(settings: FirewallSettings, container: ContainerRules): string[] {
  const table = `inet ${tableName(settings.name)}`;
  const metadata = parseCidr(METADATA) ?? { first: 0, last: 0 };
  const guarded = [settings.pool, metadata];
  const inside: string[] = [];
  const world: string[] = [];
  const host: string[] = [];
  for (const rule of container.net_out) {
    const range = parseDestination(rule.destination);
    if (!range) throw new InvalidRule(`${rule.destination} is no address, network or range`);
    for (const match of matches(rule, range)) {
      (guarded.some((network) => isWithin(range, network)) ? inside : world).push(match);
      if (range.first === range.last) host.push(match);
    }
  }
  const refuse = guarded.map((network) => `ip daddr ${rangeText(network)} goto refuse`);
  const out = [...inside, ...refuse, 'ip daddr @networks goto refuse', ...world, 'goto refuse'];
  return [
    ...out.map((text) => `add rule ${table} out-${container.slot} ${text}`),
    ...[...host, 'goto refuse'].map((text) => `add rule ${table} host-${container.slot} ${text}`),
  ];
}

function matches(rule: EgressRule, range: AddressRange): string[] {
  const destination = `ip daddr ${rangeText(range)}`;
  const log = rule.log === true ? ' log prefix "OK_" level info' : '';
  switch (rule.protocol) {
    case 'all':
      return [`${destination}${log} accept`];
    case 'tcp':
    case 'udp':
      return [`${destination} ${rule.protocol} dport ${portSet(rule)}${log} accept`];
    case 'icmp': {
      const type = rule.type === undefined || rule.type < 0 ? '' : ` icmp type ${rule.type}`;
      const code = rule.code === undefined || rule.code < 0 ? '' : ` icmp code ${rule.code}`;
      return [`${destination} meta l4proto icmp${type}${code}${log} accept`];
    }
    case 'icmpv6':
      return []; // containers have no IPv6
    default:
      return rule.protocol satisfies never;
  }
}

function portSet(rule: EgressRule): string {
  const parts = (rule.ports ?? '1-65535').split(',').map((part) => part.trim());
  const isPort = (text: string) => /^\d{1,5}$/.test(text) && Number(text) <= 65_535;
  for (const part of parts) {
    const ends = part.split('-').map((end) => end.trim());
    const isRange = ends.length <= 2 && ends.every(isPort) && Number(ends[0]) <= Number(ends.at(-1));
    if (!isRange) throw new InvalidRule(`${part} is no port or range of ports`);
  }
  return `{ ${parts.join(', ')} }`;
}
