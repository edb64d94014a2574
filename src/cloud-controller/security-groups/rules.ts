import { isIP, isIPv4 } from 'node:net';
import { z } from 'zod';
import type { SecurityGroupRule } from '../tables.ts';

const FIELDS = new Set(['protocol', 'destination', 'ports', 'type', 'code', 'description', 'log']);
const PROTOCOLS = ['tcp', 'udp', 'icmp', 'icmpv6', 'all'] as const;

/** Rules as requests give them, with the API's texts for what is wrong: `Rules[0]: protocol must be …`. */
export const Rules = z
  .array(z.unknown(), { error: 'Rules must be an array' })
  .max(1000)
  .transform((rules, context): SecurityGroupRule[] => {
    const faults = rules.flatMap((rule, index) => faultsOfRule(rule).map((fault) => `Rules[${index}]: ${fault}`));
    for (const message of faults) context.addIssue({ code: 'custom', message });
    return faults.length === 0 ? (rules as SecurityGroupRule[]) : z.NEVER;
  });

/** What is wrong with one rule. Source: cloud_controller_ng's rule validator. */
export function faultsOfRule(rule: unknown): string[] {
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule)) return ['must be an object'];
  const given = new Map(Object.entries(rule));
  const unknown = [...given.keys()].filter((key) => !FIELDS.has(key));
  const faults = unknown.length > 0 ? [`unknown field(s): ${JSON.stringify(unknown)}`] : [];
  const description = given.get('description');
  if (description !== undefined && description !== null && typeof description !== 'string') {
    faults.push('description must be a string');
  }
  const log = given.get('log');
  if (log !== undefined && log !== null && typeof log !== 'boolean') faults.push('log must be a boolean');
  const protocol = PROTOCOLS.find((name) => name === given.get('protocol'));
  if (!protocol) faults.push("protocol must be 'tcp', 'udp', 'icmp', 'icmpv6' or 'all'");
  else faults.push(...faultsOfProtocol(protocol, given));
  faults.push(...faultsOfDestination(given.get('destination'), protocol));
  return faults;
}

function faultsOfProtocol(protocol: SecurityGroupRule['protocol'], given: ReadonlyMap<string, unknown>): string[] {
  switch (protocol) {
    case 'tcp':
    case 'udp':
      return faultsOfPorts(given.get('ports'));
    case 'icmp':
    case 'icmpv6':
      return (['code', 'type'] as const).flatMap((field) => faultsOfIcmp(field, given.get(field)));
    case 'all':
      return given.has('ports') ? ['ports are not allowed for protocols of type all'] : [];
    default:
      return protocol satisfies never;
  }
}

function faultsOfPorts(ports: unknown): string[] {
  if (ports === undefined || ports === null) return ['ports are required for protocols of type TCP and UDP'];
  const isPort = (text: string): boolean => /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535;
  const isRange = (text: string): boolean => {
    const [low, high, ...more] = text.split('-').map((part) => part.trim());
    return more.length === 0 && isPort(low ?? '') && isPort(high ?? '') && Number(low) <= Number(high);
  };
  const isGood = typeof ports === 'string' && (isRange(ports) || ports.split(',').every((part) => isPort(part.trim())));
  return isGood
    ? []
    : ['ports must be a valid single port, comma separated list of ports, or range or ports, formatted as a string'];
}

function faultsOfIcmp(field: 'code' | 'type', value: unknown): string[] {
  if (value === undefined || value === null) return [`${field} is required for protocols of type ICMP`];
  const isGood = typeof value === 'number' && Number.isInteger(value) && value >= -1 && value <= 255;
  return isGood ? [] : [`${field} must be an integer between -1 and 255 (inclusive)`];
}

function faultsOfDestination(destination: unknown, protocol: SecurityGroupRule['protocol'] | undefined): string[] {
  if (typeof destination !== 'string') return ['destination must be a string'];
  if (/\s/.test(destination)) return ['destination must not contain whitespace'];
  const [first = '', last] = destination.split('-');
  if (protocol === 'icmp' && first.includes(':')) return ['for protocol "icmp" you cannot use IPv6 addresses'];
  if (protocol === 'icmpv6' && !first.includes(':')) return ['for protocol "icmpv6" you cannot use IPv4 addresses'];
  if (last !== undefined) return faultsOfRange(first, last, destination);
  const [address = '', bits, ...more] = destination.split('/');
  const width = isIPv4(address) ? 32 : 128;
  const hasGoodBits = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= width);
  return isIP(address) !== 0 && hasGoodBits && more.length === 0
    ? []
    : ['destination must be a valid CIDR, IP address, or IP address range'];
}

function faultsOfRange(first: string, last: string, whole: string): string[] {
  if (whole.split('-').length !== 2 || isIP(first) === 0 || isIP(first) !== isIP(last)) {
    return ['destination IP address range is invalid'];
  }
  const isReversed = isIPv4(first) && toNumber(first) > toNumber(last);
  return isReversed
    ? ['beginning of IP address range is numerically greater than the end of its range (range endpoints are inverted)']
    : [];
}

function toNumber(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}
