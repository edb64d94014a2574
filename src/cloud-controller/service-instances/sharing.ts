import type { FastifyInstance } from 'fastify';
import { CfError, unprocessable } from '#contracts/cf-errors.ts';
import { parseBody, ToMany } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { type FieldSpec, fieldParameters, parseFields } from '../api/fields.ts';
import { parseShow } from '../api/list.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { recordAuditEvent } from '../events.ts';
import { requireFeature } from '../feature-flags/store.ts';
import { organizationsByGuid } from '../organizations/store.ts';
import { credentialChild } from '../service-credential-bindings/children.ts';
import { type AskedChildren, endChildren } from '../service-operations/children.ts';
import { hasFailedCreate, isBusy } from '../service-operations/operation.ts';
import { type FoundSpace, spacesByGuid } from '../spaces/store.ts';
import { includedPlaces } from './include.ts';
import { seeInstance, writableInstance } from './policy.ts';
import {
  bindingsInSpace,
  countBindingsBySpace,
  isPlanUsableIn,
  shareInstance,
  unshareInstance,
} from './sharing-store.ts';
import { isNameTakenIn, type ServiceInstance } from './store.ts';

type ByGuid = { Params: { guid: string } };

const PATH = '/v3/service_instances/:guid/relationships/shared_spaces';
const FIELDS: FieldSpec = {
  space: ['guid', 'name', 'relationships.organization'],
  'space.organization': ['guid', 'name'],
};
/** How long a request waits for bindings to end before it says that they are still under way. */
const UNBIND_LIMIT_MS = 30_000;
const LOOK_MS = 50;

/** Sharing of managed instances with other spaces. */
export function registerSharingEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links } = deps;
  const present = (guid: string, space_guids: readonly string[]): Record<string, unknown> => ({
    data: space_guids.map((space_guid) => ({ guid: space_guid })),
    links: { self: links.to(`/v3/service_instances/${guid}/relationships/shared_spaces`) },
  });

  server.get<ByGuid>(PATH, async (request) => {
    const found = await seeInstance(db, request.caller, request.params.guid);
    const fields = parseFields(parseShow(request, { plain: fieldParameters(FIELDS) }), FIELDS);
    const rows = found.shared_spaces.map(({ guid, organization_guid }) => ({ space_guid: guid, organization_guid }));
    const shown = present(
      found.guid,
      rows.map((row) => row.space_guid),
    );
    return fields.size === 0 ? shown : { ...shown, included: await includedPlaces(db, fields, { rows, links }) };
  });

  server.get<ByGuid>(`${PATH}/usage_summary`, async ({ params, caller }) => {
    const found = await seeInstance(db, caller, params.guid);
    const guids = found.shared_spaces.map(({ guid }) => guid);
    const counts = await countBindingsBySpace(db, found.guid, guids);
    const path = `/v3/service_instances/${found.guid}`;
    return {
      usage_summary: guids.map((guid) => ({ space: { guid }, bound_app_count: counts.get(guid) ?? 0 })),
      links: {
        self: links.to(`${path}/relationships/shared_spaces/usage_summary`),
        shared_spaces: links.to(`${path}/relationships/shared_spaces`),
        service_instance: links.to(path),
      },
    };
  });

  server.post<ByGuid>(PATH, { config: { body: ToMany } }, async ({ params, body, caller }) => {
    await requireFeature(db, 'service_instance_sharing', caller);
    const found = await writableInstance(db, caller, params.guid);
    const guids = [...new Set(parseBody(ToMany, body).data.map(({ guid }) => guid))];
    const spaces = await writableSpaces(deps, caller, found, guids);
    await requireShareable(deps, found, spaces);
    await inTransaction(db, async (trx) => {
      await shareInstance(trx, found.guid, guids);
      await record(trx, found, caller, { what: 'share', data: { target_space_guids: guids } });
    });
    return present(found.guid, [...new Set([...found.shared_spaces.map(({ guid }) => guid), ...guids])]);
  });

  type Shared = { Params: { guid: string; space_guid: string } };
  server.delete<Shared>(`${PATH}/:space_guid`, async ({ params, caller }, reply) => {
    const found = await writableInstance(db, caller, params.guid);
    const [space] = await spacesByGuid(db, [params.space_guid]);
    if (!space) {
      throw unprocessable(
        `Unable to unshare service instance from space ${params.space_guid}. Ensure the space exists.`,
      );
    }
    await endBindingsIn(deps, caller, found, space);
    await inTransaction(db, async (trx) => {
      await unshareInstance(trx, found.guid, space.guid);
      await record(trx, found, caller, { what: 'unshare', data: { target_space_guid: space.guid } });
    });
    return reply.code(204).send();
  });
}

/** Errors: 422 that names the spaces that are not there, or may not be written. */
async function writableSpaces(
  { db }: Deps,
  caller: Caller,
  instance: ServiceInstance,
  guids: readonly string[],
): Promise<FoundSpace[]> {
  const spaces = await spacesByGuid(db, [...guids]);
  const quoted = (all: readonly string[]): string => `[${all.map((guid) => `'${guid}'`).join(', ')}]`;
  const refuse = (all: readonly string[], why: string): CfError =>
    unprocessable(`Unable to share service instance ${instance.name} with spaces ${quoted(all)}. ${why}`);
  const hidden = guids.filter((guid) => {
    const space = spaces.find((candidate) => candidate.guid === guid);
    return !space || !caller.may('space.read', space);
  });
  if (hidden.length > 0) throw refuse(hidden, 'Ensure the spaces exist and that you have access to them.');
  const closed = spaces.filter((space) => !caller.may('service_instance.write', space));
  if (closed.length > 0) {
    const why =
      'Write permission is required in order to share a service instance with a space and the containing organization must not be suspended.';
    throw refuse(
      closed.map(({ guid }) => guid),
      why,
    );
  }
  return spaces;
}

/** Errors: 422 with Cloud Foundry's texts; 404 for one that could not be made. */
async function requireShareable({ db }: Deps, instance: ServiceInstance, spaces: readonly FoundSpace[]): Promise<void> {
  if (instance.offering_requires?.includes('route_forwarding') === true || instance.route_service_url !== null)
    throw unprocessable('Route services cannot be shared.');
  if (instance.type !== 'managed' || instance.service_plan_guid === null)
    throw unprocessable('User-provided services cannot be shared.');
  if (instance.offering_metadata?.['shareable'] !== true)
    throw unprocessable(`The ${instance.offering_name} service does not support service instance sharing.`);
  const own = spaces.find(({ guid }) => guid === instance.space_guid);
  if (own) {
    throw unprocessable(
      `Unable to share service instance '${instance.name}' with space '${own.guid}'. Service instances cannot be shared into the space where they were created.`,
    );
  }
  if (instance.plan_available === false) {
    throw unprocessable(`The service instance could not be shared as the ${instance.plan_name} plan is inactive.`);
  }
  for (const space of spaces) {
    if (!(await isPlanUsableIn(db, instance.service_plan_guid, space.guid))) {
      const [organization] = await organizationsByGuid(db, [space.organization_guid]);
      throw unprocessable(
        `Access to service ${instance.offering_name} and plan ${instance.plan_name} is not enabled in ${organization?.name}/${space.name}.`,
      );
    }
    if (instance.shared_spaces.some(({ guid }) => guid === space.guid)) continue;
    if (await isNameTakenIn(db, instance.name, space.guid)) {
      throw unprocessable(`A service instance called ${instance.name} already exists in ${space.name}.`);
    }
  }
  if (hasFailedCreate(instance)) throw new CfError('ResourceNotFound', 'Service instance not found');
  if (!isBusy(instance)) return;
  if (instance.operation_type === 'create') {
    throw unprocessable('Service instance is currently being created. It can be shared after its creation succeeded.');
  }
  if (instance.operation_type === 'delete') throw unprocessable('The service instance is getting deleted.');
}

/** Ends what binds apps of a space to the instance. Errors: 502 when some cannot be ended, or not yet. */
async function endBindingsIn(deps: Deps, caller: Caller, instance: ServiceInstance, space: FoundSpace): Promise<void> {
  const by = { actor: caller.actor, user_guid: caller.guid };
  const end = deps.clock.monotonic() + UNBIND_LIMIT_MS;
  const failed = (faults: readonly string[]): CfError =>
    new CfError(
      'ServiceInstanceUnshareFailed',
      `Unshare of service instance failed because one or more bindings could not be deleted.\n\n${faults.map((fault) => `\t${fault}`).join('\n\n')}`,
    );
  let asked: AskedChildren = {};
  for (;;) {
    const left = await bindingsInSpace(deps.db, instance.guid, space.guid);
    const children = left.map((guid) => credentialChild(deps, guid, by));
    const state = await endChildren(deps, children, asked);
    if (state.state === 'ended') return;
    if (state.state === 'failed') throw failed(state.faults);
    if (deps.clock.monotonic() > end) {
      throw failed([
        `The binding between an application and service instance ${instance.name} in space ${space.name} is being deleted asynchronously.`,
      ]);
    }
    asked = state.asked;
    await deps.clock.sleep(LOOK_MS);
  }
}

async function record(
  trx: Parameters<typeof recordAuditEvent>[0],
  instance: ServiceInstance,
  caller: Caller,
  event: { what: 'share' | 'unshare'; data: Record<string, unknown> },
): Promise<void> {
  await recordAuditEvent(trx, {
    type: `audit.service_instance.${event.what}`,
    actor: caller.actor,
    target: { guid: instance.guid, type: 'service_instance', name: instance.name },
    data: event.data,
    space_guid: instance.space_guid,
    organization_guid: instance.organization_guid,
  });
}
