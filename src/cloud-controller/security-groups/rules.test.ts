import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { faultsOfRule } from './rules.ts';

describe('rules of security groups', () => {
  const destination = '10.0.0.0/8';
  const cases: [what: string, rule: unknown, faults: string[]][] = [
    ['a CIDR for all protocols', { protocol: 'all', destination }, []],
    ['a range with ports', { protocol: 'tcp', destination: '10.0.0.1-10.0.0.9', ports: '80,443', log: true }, []],
    ['a range of ports', { protocol: 'udp', destination: '::/0', ports: '1-1024', description: 'x' }, []],
    ['pings', { protocol: 'icmp', destination, type: 8, code: 0 }, []],
    ['pings over IPv6', { protocol: 'icmpv6', destination: '::/0', type: -1, code: -1 }, []],
    ['something else', 'x', ['must be an object']],
    ['an unknown field', { protocol: 'all', destination, color: 1 }, ['unknown field(s): ["color"]']],
    [
      'an unknown protocol',
      { protocol: 'sctp', destination },
      ["protocol must be 'tcp', 'udp', 'icmp', 'icmpv6' or 'all'"],
    ],
    ['no ports', { protocol: 'tcp', destination }, ['ports are required for protocols of type TCP and UDP']],
    [
      'ports the wrong way round',
      { protocol: 'tcp', destination, ports: '9-1' },
      ['ports must be a valid single port, comma separated list of ports, or range or ports, formatted as a string'],
    ],
    [
      'ports for all',
      { protocol: 'all', destination, ports: '1' },
      ['ports are not allowed for protocols of type all'],
    ],
    [
      'pings without a type',
      { protocol: 'icmp', destination, code: 300 },
      ['code must be an integer between -1 and 255 (inclusive)', 'type is required for protocols of type ICMP'],
    ],
    [
      'an address that is none',
      { protocol: 'all', destination: '10.0.0.0/33' },
      ['destination must be a valid CIDR, IP address, or IP address range'],
    ],
    [
      'a range the wrong way round',
      { protocol: 'all', destination: '10.0.0.9-10.0.0.1' },
      ['beginning of IP address range is numerically greater than the end of its range (range endpoints are inverted)'],
    ],
  ];
  for (const [what, rule, faults] of cases) {
    it(`${faults.length === 0 ? 'take' : 'refuse'} ${what}`, () => assert.deepEqual(faultsOfRule(rule), faults));
  }
});
