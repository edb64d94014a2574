import { z } from 'zod';
import type { NetworkPolicy } from '#contracts/networking.ts';

/** Bodies and answers of the external API of Cloud Foundry's policy server (cf-networking-release, v1). */
const Guid = z.string({ error: 'missing id' }).min(1, 'missing id');
const Port = z.int().min(1, 'invalid start port').max(65_535, 'invalid end port');

const Policy = z.object({
  source: z.object({ id: Guid }, { error: 'missing source' }),
  destination: z.object(
    {
      id: Guid,
      protocol: z.enum(['tcp', 'udp'], { error: 'invalid destination protocol, specify either udp or tcp' }),
      ports: z
        .object({ start: Port, end: Port }, { error: 'missing start and end port' })
        .refine(({ start, end }) => start <= end, 'invalid port range, start must be less than or equal to end'),
    },
    { error: 'missing destination' },
  ),
});

export const PolicyList = z.object({
  policies: z.array(Policy, { error: 'missing policies' }).min(1, 'missing policies').max(1000),
});

export function policiesIn(body: z.output<typeof PolicyList>): NetworkPolicy[] {
  return body.policies.map(({ source, destination }) => ({
    source: source.id,
    destination: destination.id,
    protocol: destination.protocol,
    first_port: destination.ports.start,
    last_port: destination.ports.end,
  }));
}

export function presentPolicies(policies: readonly NetworkPolicy[]): Record<string, unknown> {
  return {
    total_policies: policies.length,
    policies: policies.map(({ source, destination, protocol, first_port, last_port }) => ({
      source: { id: source },
      destination: { id: destination, protocol, ports: { start: first_port, end: last_port } },
    })),
  };
}
