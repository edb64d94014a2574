import { strict as assert } from 'node:assert';
import { describe, test } from 'node:test';
import type { EgressRule } from '#contracts/dea.ts';
import { formatAddress, parseAddress, parseCidr, parseDestination } from './address.ts';
import { type FirewallSettings, InvalidRule, replaceRulesText } from './firewall.ts';
import { placeOf, slotsIn } from './network.ts';

const pool = parseCidr('10.254.0.0/22') ?? { first: 0, last: 0 };
const settings: FirewallSettings = { name: 'x', pool, allow_host_access: [], dns_port: 53_000 };

/** The rules of a container for the outside and for the host, without their common head. */
function rulesFor(...net_out: EgressRule[]): { out: string[]; host: string[] } {
  const lines = replaceRulesText(settings, { slot: 3, place: placeOf(3, 'x', pool), ports: [], net_out }).split('\n');
  const of = (chain: string) =>
    lines
      .filter((line) => line.startsWith(`add rule inet ingot_x ${chain} `))
      .map((line) => line.split(`${chain} `)[1] ?? '');
  return { out: of('out-3'), host: of('host-3') };
}

const GUARD = [
  'ip daddr 10.254.0.0-10.254.3.255 goto refuse',
  'ip daddr 169.254.0.0-169.254.255.255 goto refuse',
  'ip daddr @networks goto refuse',
];
const END = 'goto refuse';

describe('the firewall', () => {
  test('refuses all that no rule allows', () => {
    assert.deepEqual(rulesFor(), { out: [...GUARD, END], host: [END] });
  });

  test('lets the whole world cover neither containers nor metadata nor the host', () => {
    const { out, host } = rulesFor({ protocol: 'all', destination: '0.0.0.0/0' });
    assert.deepEqual(out, [...GUARD, 'ip daddr 0.0.0.0-255.255.255.255 accept', END]);
    assert.deepEqual(host, [END]);
  });

  const cases: [EgressRule, string][] = [
    [{ protocol: 'tcp', destination: '1.2.3.4', ports: '80,443' }, 'ip daddr 1.2.3.4 tcp dport { 80, 443 } accept'],
    [{ protocol: 'udp', destination: '8.8.8.0/24', ports: '53' }, 'ip daddr 8.8.8.0-8.8.8.255 udp dport { 53 } accept'],
    [
      { protocol: 'tcp', destination: '1.1.1.1 - 1.1.1.9', ports: '1-1024' },
      'ip daddr 1.1.1.1-1.1.1.9 tcp dport { 1-1024 } accept',
    ],
    [
      { protocol: 'icmp', destination: '9.9.9.9', type: 8, code: 0 },
      'ip daddr 9.9.9.9 meta l4proto icmp icmp type 8 icmp code 0 accept',
    ],
    [{ protocol: 'icmp', destination: '9.9.9.9', type: -1, code: -1 }, 'ip daddr 9.9.9.9 meta l4proto icmp accept'],
    [{ protocol: 'all', destination: '9.9.9.9', log: true }, 'ip daddr 9.9.9.9 log prefix "OK_" level info accept'],
  ];
  for (const [rule, line] of cases) {
    test(`writes a rule for ${rule.protocol} to ${rule.destination} ${rule.ports ?? ''}`, () => {
      assert.deepEqual(rulesFor(rule).out, [...GUARD, line, END]);
      assert.deepEqual(rulesFor(rule).host, /-/.test(line.split(' ')[2] ?? '') ? [END] : [line, END]);
    });
  }

  test('puts a rule that names a neighbour before the guard', () => {
    const { out } = rulesFor({ protocol: 'tcp', destination: '10.254.0.6', ports: '8080' });
    assert.deepEqual(out, ['ip daddr 10.254.0.6 tcp dport { 8080 } accept', ...GUARD, END]);
  });

  for (const bad of [
    { destination: 'example.com' },
    { destination: '1.2.3.4/33' },
    { destination: '2.2.2.2-1.1.1.1' },
    { ports: '0x50' },
    { ports: '80-79' },
    { ports: '70000' },
    { ports: '80 } accept; add' },
  ]) {
    test(`refuses ${JSON.stringify(bad)}`, () => {
      const rule: EgressRule = { protocol: 'tcp', destination: '1.1.1.1', ports: '80', ...bad };
      assert.throws(() => rulesFor(rule), InvalidRule);
    });
  }
});

test('addresses, networks and ranges are read and written as they are', () => {
  assert.equal(formatAddress(parseAddress('255.0.10.1') ?? 0), '255.0.10.1');
  assert.equal(parseAddress('1.2.3'), undefined);
  assert.equal(parseAddress('1.2.3.256'), undefined);
  assert.deepEqual(parseDestination('10.0.0.7/8'), parseDestination('10.0.0.0-10.255.255.255'));
});

test('each container has a /30 of its own, and the last one of the pool is for services of the host', () => {
  assert.equal(slotsIn(pool), 255);
  const last = placeOf(254, 'x', pool);
  assert.deepEqual([last.host_ip, last.container_ip, last.interface], ['10.254.3.249', '10.254.3.250', 'wx-72']);
});
