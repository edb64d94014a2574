import type { Fields } from '../api/fields.ts';
import { pickFields } from '../api/fields.ts';
import type { Links } from '../api/links.ts';
import { presentOrganization } from '../organizations/presenter.ts';
import { organizationsByGuid } from '../organizations/store.ts';
import { presentServiceBroker } from '../service-brokers/presenter.ts';
import { serviceBrokersByGuid } from '../service-brokers/store.ts';
import { presentServiceOffering } from '../service-offerings/presenter.ts';
import { serviceOfferingsByGuid } from '../service-offerings/store.ts';
import { presentServicePlan } from '../service-plans/presenter.ts';
import { servicePlansByGuid } from '../service-plans/store.ts';
import { presentSpace } from '../spaces/presenter.ts';
import { spacesByGuid } from '../spaces/store.ts';
import type { Db } from '../tables.ts';

type Included = Record<string, unknown[]>;

const present = (guids: readonly (string | null)[]): string[] => guids.filter((guid) => guid !== null);

/** Spaces and their organizations, as `fields[space]` and `fields[space.organization]` ask for them. */
export async function includedPlaces(
  db: Db,
  fields: Fields,
  page: { rows: readonly { space_guid: string; organization_guid: string }[]; links: Links },
): Promise<Included> {
  const { rows, links } = page;
  const included: Included = {};
  const ofSpace = fields.get('space');
  if (ofSpace) {
    const found = await spacesByGuid(
      db,
      rows.map((row) => row.space_guid),
    );
    included['spaces'] = found.map((row) => pickFields(presentSpace(row, links), ofSpace));
  }
  const ofOrganization = fields.get('space.organization');
  if (ofOrganization) {
    const found = await organizationsByGuid(
      db,
      rows.map((row) => row.organization_guid),
    );
    included['organizations'] = found.map((row) => pickFields(presentOrganization(row, links), ofOrganization));
  }
  return included;
}

/** Plans, offerings and brokers, likewise. */
export async function includedOffer(
  db: Db,
  fields: Fields,
  page: {
    rows: readonly {
      service_plan_guid: string | null;
      offering_guid: string | null;
      broker_guid: string | null;
    }[];
    links: Links;
  },
): Promise<Included> {
  const { rows, links } = page;
  const included: Included = {};
  const ofPlan = fields.get('service_plan');
  if (ofPlan) {
    const found = await servicePlansByGuid(db, present(rows.map((row) => row.service_plan_guid)));
    included['service_plans'] = found.map((row) => pickFields(presentServicePlan(row, links), ofPlan));
  }
  const ofOffering = fields.get('service_plan.service_offering');
  if (ofOffering) {
    const found = await serviceOfferingsByGuid(db, present(rows.map((row) => row.offering_guid)));
    included['service_offerings'] = found.map((row) => pickFields(presentServiceOffering(row, links), ofOffering));
  }
  const ofBroker = fields.get('service_plan.service_offering.service_broker');
  if (ofBroker) {
    const found = await serviceBrokersByGuid(db, present(rows.map((row) => row.broker_guid)));
    included['service_brokers'] = found.map((row) => pickFields(presentServiceBroker(row, links), ofBroker));
  }
  return included;
}
