import { X509Certificate } from 'node:crypto';
import type { RouteMessage } from '#contracts/router.ts';
import type { Answer } from './answers.ts';

/** Who gets through to a route of a domain that enforces policies. Source: cloud_controller_ng's docs/v3, "Route Policies". */
export interface RoutePolicies {
  /** Whether a caller must be of the organization or the space of the app that is called. */
  scope: 'any' | 'org' | 'space';
  /** `cf:app:…`, `cf:space:…`, `cf:org:…`, `cf:any`. Without any, nobody gets through. */
  sources: ReadonlySet<string>;
  organization_id: string;
  space_id: string;
}

/** Undefined for routes that are open to all. */
export function policiesOf({ options, tags }: RouteMessage): RoutePolicies | undefined {
  if (options?.route_policy_scope === undefined) return undefined;
  return {
    scope: options.route_policy_scope,
    sources: new Set(options.route_policy_sources?.split(',').filter((source) => source !== '')),
    organization_id: tags?.['organization_id'] ?? '',
    space_id: tags?.['space_id'] ?? '',
  };
}

/** Who calls, by the certificate that its instance has: guids of `app`, `space` and `organization`. */
interface Identity {
  app: string;
  space: string;
  organization: string;
}

/**
 * The refusal of a caller that the policies do not name; undefined when it may pass. `clientCert` is what the client proved to be,
 * DER in base64, and empty when it proved nothing.
 */
export function routePolicyDenial(policies: RoutePolicies, clientCert: string, host: string): Answer | undefined {
  const caller = identityOf(clientCert);
  if (caller !== undefined && isWithin(policies, caller) && isNamed(policies.sources, caller)) return undefined;
  return {
    status: 403,
    message: `Route policies do not let this caller through to ('${host}').`,
    routerError: 'route_policy_denied',
  };
}

function isWithin({ scope, organization_id, space_id }: RoutePolicies, caller: Identity): boolean {
  switch (scope) {
    case 'any':
      return true;
    case 'org':
      return caller.organization === organization_id;
    case 'space':
      return caller.space === space_id;
    default:
      return scope satisfies never;
  }
}

function isNamed(sources: ReadonlySet<string>, { app, space, organization }: Identity): boolean {
  return ['cf:any', `cf:app:${app}`, `cf:space:${space}`, `cf:org:${organization}`].some((source) =>
    sources.has(source),
  );
}

/** An instance's certificate names its app, space and organization in its subject: `OU=app:<guid>`. */
function identityOf(clientCert: string): Identity | undefined {
  if (clientCert === '') return undefined;
  const units = new Map<string, string>();
  for (const line of new X509Certificate(Buffer.from(clientCert, 'base64')).subject.split('\n')) {
    const [, kind, guid] = /^OU=(app|space|organization):([\da-f-]{36})$/.exec(line) ?? [];
    if (kind !== undefined && guid !== undefined) units.set(kind, guid);
  }
  const [app, space, organization] = [units.get('app'), units.get('space'), units.get('organization')];
  return app === undefined || space === undefined || organization === undefined
    ? undefined
    : { app, space, organization };
}
