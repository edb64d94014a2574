import { type Links, presentCommon, presentMetadata, toOne } from '../api/links.ts';
import type { ServiceBrokerRow } from '../tables-services.ts';

export function presentServiceBroker(row: ServiceBrokerRow, links: Links): Record<string, unknown> {
  return {
    ...presentCommon(row),
    name: row.name,
    url: row.url,
    relationships: row.space_guid === null ? {} : { space: toOne(row.space_guid) },
    ...presentMetadata(row),
    links: {
      self: links.to(`/v3/service_brokers/${row.guid}`),
      service_offerings: links.to(`/v3/service_offerings?service_broker_guids=${row.guid}`),
      ...(row.space_guid !== null && { space: links.to(`/v3/spaces/${row.space_guid}`) }),
    },
  };
}
