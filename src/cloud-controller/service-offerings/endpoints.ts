import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { CfError, notFound } from '#contracts/cf-errors.ts';
import { parseBody } from '../api/body.ts';
import type { Caller } from '../api/caller.ts';
import { type Fields, type FieldSpec, fieldParameters, parseFields, pickFields } from '../api/fields.ts';
import { presentPage } from '../api/list-store.ts';
import { badQuery, type ListSpec, parseList, parseShow } from '../api/list.ts';
import { metadataColumns, MetadataUpdate } from '../api/metadata.ts';
import { inTransaction } from '../api/statement-store.ts';
import type { Deps } from '../deps.ts';
import { presentServiceBroker } from '../service-brokers/presenter.ts';
import { serviceBrokersByGuid } from '../service-brokers/store.ts';
import { planViewer } from '../service-plans/visible-store.ts';
import { presentServiceOffering } from './presenter.ts';
import { hasPlans, purgeOffering } from './purge-store.ts';
import { findServiceOffering, listServiceOfferings, type ServiceOffering, updateOfferingMetadata } from './store.ts';

const FIELDS: FieldSpec = { service_broker: ['guid', 'name'] };
const LIST: ListSpec = {
  filters: [
    'guids',
    'names',
    'broker_catalog_ids',
    'service_broker_guids',
    'service_broker_names',
    'space_guids',
    'organization_guids',
  ],
  plain: ['available', ...fieldParameters(FIELDS)],
  order: ['name'],
  labels: true,
};
const UpdateServiceOffering = z.strictObject({ metadata: MetadataUpdate.optional() });
type ByGuid = { Params: { guid: string } };

export function registerServiceOfferingEndpoints(server: FastifyInstance, deps: Deps): void {
  const { db, links, effects } = deps;
  const see = async (caller: Caller, guid: string): Promise<ServiceOffering> => {
    const found = await findServiceOffering(db, guid, planViewer(caller));
    if (!found) throw notFound('Service offering');
    return found;
  };
  const include = async (
    fields: Fields,
    rows: readonly ServiceOffering[],
  ): Promise<Record<string, unknown[]> | undefined> => {
    const keys = fields.get('service_broker');
    if (!keys) return undefined;
    const found = await serviceBrokersByGuid(
      db,
      rows.map((row) => row.service_broker_guid),
    );
    return { service_brokers: found.map((row) => pickFields(presentServiceBroker(row, links), keys)) };
  };

  server.get('/v3/service_offerings', { config: { list: LIST } }, async (request) => {
    const query = parseList(request, LIST);
    checkBoolean(query.plain['available']);
    const page = await listServiceOfferings(db, query, planViewer(request.caller));
    const included = await include(parseFields(query, FIELDS), page.rows);
    return presentPage(page, { query, links, present: (row) => presentServiceOffering(row, links), included });
  });

  server.get<ByGuid>('/v3/service_offerings/:guid', async (request) => {
    const found = await see(request.caller, request.params.guid);
    const query = parseShow(request, { plain: fieldParameters(FIELDS) });
    const included = await include(parseFields(query, FIELDS), [found]);
    return { ...presentServiceOffering(found, links), ...(included && { included }) };
  });

  server.patch<ByGuid>(
    '/v3/service_offerings/:guid',
    { config: { body: UpdateServiceOffering } },
    async ({ params, body, caller }) => {
      const found = await see(caller, params.guid);
      requireOfferWrite(caller, found);
      const { metadata } = parseBody(UpdateServiceOffering, body);
      await updateOfferingMetadata(db, found.guid, metadataColumns(found, metadata));
      return presentServiceOffering(await see(caller, found.guid), links);
    },
  );

  type Delete = ByGuid & { Querystring: { purge?: string } };
  server.delete<Delete>('/v3/service_offerings/:guid', async ({ params, query, caller }, reply) => {
    const found = await see(caller, params.guid);
    requireOfferWrite(caller, found);
    const app_guids = await inTransaction(db, async (trx) => {
      if (query.purge !== 'true' && (await hasPlans(trx, found.guid))) {
        throw new CfError('AssociationNotEmpty', 'Please delete the service_plans associations for your services.');
      }
      return await purgeOffering(trx, found, caller.actor);
    });
    await effects.routesChanged(app_guids);
    return reply.code(204).send();
  });
}

/** Offers of a space's broker belong to its developers, others to the platform. Errors: 403. */
export function requireOfferWrite(
  caller: Caller,
  offer: { space_guid: string | null; organization_guid: string | null },
): void {
  if (offer.space_guid === null) caller.require('platform.write');
  else caller.require('service_broker.write_in_space', offer);
}

/** Errors: 400 CF-BadQueryParameter. */
export function checkBoolean(available: string | undefined): void {
  if (available === undefined || available === 'true' || available === 'false') return;
  throw badQuery("Available only accepts values 'true' or 'false'");
}
