import type { FastifyInstance, FastifyRequest } from 'fastify';
import { CfError } from '#contracts/cf-errors.ts';
import type { NetworkPolicy } from '#contracts/networking.ts';
import { asCfError } from '#http/cf-errors.ts';
import type { Caller } from '../api/caller.ts';
import type { Scope } from '../api/permissions.ts';
import type { Deps } from '../deps.ts';
import { policiesIn, PolicyList, presentPolicies } from './schema.ts';
import { addPolicies, appPlaces, countBySource, listPolicies, removePolicies } from './store.ts';

const SCOPES = ['network.admin', 'network.write'];
/** As the policy server has it; who holds network.admin has no such limit. */
const MAX_POLICIES_PER_SOURCE = 150;
const EVERYWHERE: Scope = { everywhere: true };

/**
 * The external API of Cloud Foundry's policy server, where the root document's `network_policy_v1` points to. Its errors are
 * `{"error": text}`, and who may what goes by the scopes network.admin (all) and network.write (apps in spaces whose developer one is).
 */
export function registerNetworkPolicyEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, apps, log } = deps;
  void server.register(async (api) => {
    api.setErrorHandler(async (thrown, request, reply) => {
      const error = asCfError(thrown);
      if (error.status >= 500) log.error({ request_id: request.id, error: error.message }, 'request failed');
      await reply.code(error.status).send({ error: error.message });
    });
    for (const version of ['v0', 'v1']) registerVersion(api, `/networking/${version}/external`);
  });

  function registerVersion(api: FastifyInstance, path: string): void {
    api.get<{ Querystring: Record<string, string | undefined> }>(`${path}/policies`, async ({ query, caller }) => {
      const { id, source_id, dest_id } = query;
      const wanted = { any: idsIn(id), source: idsIn(source_id), destination: idsIn(dest_id) };
      return presentPolicies(await listPolicies(db, wanted, scopeOf(caller)));
    });

    api.post(`${path}/policies`, async (request) => {
      const policies = await permitted(request);
      if (!isNetworkAdmin(request.caller)) await keepLimit(policies);
      const change = await addPolicies(db, policies);
      apps.policies.tell(change, { added: change.changed });
      return {};
    });

    api.post(`${path}/policies/delete`, async (request) => {
      const change = await removePolicies(db, await permitted(request));
      apps.policies.tell(change, { removed: change.changed });
      return {};
    });
  }

  /** The policies of the body, if the caller may set them. Errors: 400, 403. */
  async function permitted({ body, caller }: FastifyRequest): Promise<NetworkPolicy[]> {
    const scope = scopeOf(caller);
    const parsed = PolicyList.safeParse(body);
    if (!parsed.success) {
      throw new CfError('BadRequest', `validate policies: ${parsed.error.issues[0]?.message ?? 'malformed'}`);
    }
    const policies = policiesIn(parsed.data);
    const guids = [...new Set(policies.flatMap(({ source, destination }) => [source, destination]))];
    const places = await appPlaces(db, guids);
    const mine = places.filter((place) => scope.everywhere || caller.may('network_policy.write', place));
    if (mine.length < guids.length) {
      throw new CfError('NotAuthorized', 'one or more applications cannot be found or accessed');
    }
    return policies;
  }

  async function keepLimit(policies: readonly NetworkPolicy[]): Promise<void> {
    const wanted = Map.groupBy(policies, ({ source }) => source);
    const held = await countBySource(db, [...wanted.keys()]);
    for (const [source, own] of wanted) {
      if ((held.get(source) ?? 0) + own.length > MAX_POLICIES_PER_SOURCE) {
        throw new CfError('NotAuthorized', `policy quota exceeded: at most ${MAX_POLICIES_PER_SOURCE} for an app`);
      }
    }
  }
}

function isNetworkAdmin({ claims }: Caller): boolean {
  return claims.scope.includes('network.admin');
}

/** Where the caller may see and set policies. Errors: 403. */
function scopeOf(caller: Caller): Scope {
  if (isNetworkAdmin(caller)) return EVERYWHERE;
  if (caller.claims.scope.includes('network.write')) return caller.scope('network_policy.write');
  const held = JSON.stringify(caller.claims.scope);
  throw new CfError('InsufficientScope', `provided scopes ${held} do not include allowed scopes [${SCOPES.join(' ')}]`);
}

function idsIn(text: string | undefined): string[] | undefined {
  return text === undefined || text === '' ? undefined : text.split(',').map((id) => id.trim());
}
