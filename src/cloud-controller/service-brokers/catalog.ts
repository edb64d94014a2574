import { z } from 'zod';
import { SEMVER } from '../service-instances/schema.ts';
import { faultOfSchema } from '../service-parameters/json-schema.ts';

/** What comes as a catalog; its rules are checked by `readCatalog`, which tells all that is wrong at once. */
export const CatalogBody = z.record(z.string(), z.unknown());

export interface CatalogPlan {
  catalog_id: string;
  name: string;
  description: string;
  free: boolean;
  bindable: boolean | null;
  plan_updateable: boolean | null;
  maximum_polling_duration: number | null;
  maintenance_info: { version?: string; description?: string };
  schemas: Record<string, unknown>;
  metadata: Record<string, unknown>;
}
export interface DashboardClient {
  id: string;
  secret: string;
  redirect_uri: string;
}

export interface CatalogOffering {
  catalog_id: string;
  name: string;
  description: string;
  bindable: boolean;
  plan_updateable: boolean;
  instances_retrievable: boolean;
  bindings_retrievable: boolean;
  allow_context_updates: boolean;
  tags: string[];
  requires: string[];
  metadata: Record<string, unknown>;
  /** Who its dashboard is to the UAA. */
  dashboard_client: DashboardClient | undefined;
  plans: CatalogPlan[];
}

const REQUIRES = new Set(['syslog_drain', 'route_forwarding', 'volume_mount']);
const MAX_TEXT = 10_000;
const MAX_TAGS = 2_048;
const MAX_SCHEMA_BYTES = 65_536;
const MAX_MAINTENANCE = 2_000;

type Tree = Record<string, unknown>;

/**
 * A catalog that keeps the rules, or all that is wrong with it as text, offering by offering and plan by plan.
 * Source: OSB 2.17, "Catalog Management", and Cloud Foundry's limits.
 */
export function readCatalog(body: Tree): { offerings: CatalogOffering[] } | { faults: string } {
  const services = listOf(body['services']);
  if (!services || services.length === 0) return { faults: 'Service broker must provide at least one service' };
  const faults: string[] = [];
  const offerings: CatalogOffering[] = [];
  for (const service of services) {
    const { offering, lines } = readOffering(service);
    offerings.push(offering);
    if (lines.length > 0) faults.push(`Service ${offering.name}`, ...lines.map((line) => `  ${line}`));
  }
  faults.unshift(...faultsBetween(offerings, services));
  return faults.length === 0 ? { offerings } : { faults: faults.join('\n') };
}

function faultsBetween(offerings: readonly CatalogOffering[], services: readonly Tree[]): string[] {
  const faults: string[] = [];
  if (hasTwice(offerings.map(({ catalog_id }) => catalog_id))) faults.push('Service ids must be unique');
  if (hasTwice(offerings.map(({ name }) => name))) faults.push('Service names must be unique within a broker');
  const plan_ids = offerings.flatMap(({ plans }) => plans.map(({ catalog_id }) => catalog_id));
  if (hasTwice(plan_ids)) faults.push('Plan ids must be unique');
  const clients = services.flatMap(({ dashboard_client: client }) => (isTree(client) ? [client['id']] : []));
  if (hasTwice(clients)) faults.push('Service dashboard_client id must be unique');
  return faults;
}

/** Reads fields one by one and gathers what is wrong with them. */
class Fields {
  readonly faults: string[] = [];
  readonly #of: Tree;

  constructor(of: Tree) {
    this.#of = of;
  }

  text(key: string, label: string, isRequired = true): string {
    const value = this.#of[key];
    if (value === undefined || value === null || value === '') {
      if (isRequired) this.faults.push(`${label} is required`);
      return '';
    }
    if (typeof value !== 'string') {
      this.faults.push(`${label} must be a string, but has value ${JSON.stringify(value)}`);
      return '';
    }
    if (value.includes('\0') || !value.isWellFormed()) this.faults.push(`${label} contains invalid characters`);
    if (value.length > MAX_TEXT) this.faults.push(`${label} may not have more than ${MAX_TEXT} characters`);
    return value;
  }

  flag<Default extends boolean | null>(key: string, label: string, byDefault: Default): boolean | Default {
    const value = this.#of[key];
    if (value === undefined || value === null) return byDefault;
    if (typeof value === 'boolean') return value;
    this.faults.push(`${label} must be a boolean, but has value ${JSON.stringify(value)}`);
    return byDefault;
  }

  texts(key: string, label: string): string[] {
    const value = this.#of[key] ?? [];
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    this.faults.push(`${label} must be an array of strings, but has value ${JSON.stringify(value)}`);
    return [];
  }

  tree(key: string, label: string): Tree {
    const value = this.#of[key] ?? {};
    if (isTree(value)) return value;
    this.faults.push(`${label} must be a hash, but has value ${JSON.stringify(value)}`);
    return {};
  }

  integer(key: string, label: string): number | null {
    const value = this.#of[key];
    if (value === undefined || value === null) return null;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31) return value;
    this.faults.push(`${label} must be an integer, but has value ${JSON.stringify(value)}`);
    return null;
  }
}

function readOffering(service: Tree): { offering: CatalogOffering; lines: string[] } {
  const fields = new Fields(service);
  const offering: CatalogOffering = {
    catalog_id: fields.text('id', 'Service id'),
    name: fields.text('name', 'Service name'),
    description: fields.text('description', 'Service description'),
    bindable: requiredFlag(fields, service),
    plan_updateable: fields.flag('plan_updateable', 'Service "plan_updateable" field', false),
    instances_retrievable: fields.flag('instances_retrievable', 'Service "instances_retrievable" field', false),
    bindings_retrievable: fields.flag('bindings_retrievable', 'Service "bindings_retrievable" field', false),
    allow_context_updates: fields.flag('allow_context_updates', 'Service "allow_context_updates" field', false),
    tags: fields.texts('tags', 'Service tags'),
    requires: fields.texts('requires', 'Service "requires" field'),
    metadata: fields.tree('metadata', 'Service metadata'),
    dashboard_client: undefined,
    plans: [],
  };
  for (const wanted of offering.requires) {
    if (!REQUIRES.has(wanted)) fields.faults.push(`Service "requires" field contains unsupported value "${wanted}"`);
  }
  if (offering.tags.join('').length > MAX_TAGS) {
    fields.faults.push(`Tags for the service ${offering.name} must be ${MAX_TAGS} characters or less.`);
  }
  const { shareable } = offering.metadata;
  if (shareable !== undefined && typeof shareable !== 'boolean') {
    fields.faults.push(`Service metadata shareable must be a boolean, but has value ${JSON.stringify(shareable)}`);
  }
  offering.dashboard_client = readDashboard(service['dashboard_client'], fields.faults);
  return { offering, lines: [...fields.faults, ...readPlans(service['plans'], offering)] };
}

function requiredFlag(fields: Fields, service: Tree): boolean {
  if (service['bindable'] === undefined || service['bindable'] === null) {
    fields.faults.push('Service "bindable" field is required');
  }
  return fields.flag('bindable', 'Service "bindable" field', true);
}

function readDashboard(client: unknown, faults: string[]): DashboardClient | undefined {
  if (client === undefined || client === null) return undefined;
  if (!isTree(client)) {
    faults.push(`Service dashboard client attributes must be a hash, but has value ${JSON.stringify(client)}`);
    return undefined;
  }
  // An empty one means none.
  if (Object.keys(client).length === 0) return undefined;
  const fields = new Fields(client);
  const read = {
    id: fields.text('id', 'Service dashboard client id'),
    secret: fields.text('secret', 'Service dashboard client secret'),
    redirect_uri: fields.text('redirect_uri', 'Service dashboard client redirect_uri'),
  };
  faults.push(...fields.faults);
  return read;
}

/** Fills in the offering's plans; returns what is wrong with them. */
function readPlans(given: unknown, offering: CatalogOffering): string[] {
  const plans = listOf(given ?? []);
  if (!plans) return [`Service plans list must be an array of hashes, but has value ${JSON.stringify(given)}`];
  if (plans.length === 0) return ['At least one plan is required'];
  const lines: string[] = [];
  for (const plan of plans) {
    const { read, faults } = readPlan(plan);
    offering.plans.push(read);
    if (faults.length > 0) lines.push(`Plan ${read.name}`, ...faults.map((fault) => `  ${fault}`));
  }
  const names = offering.plans.map(({ name }) => name);
  for (const name of new Set(names)) {
    if (names.filter((other) => other === name).length > 1) {
      lines.push(
        `Plan names must be unique within a service. Service ${offering.name} already has a plan named ${name}`,
      );
    }
  }
  return lines;
}

function readPlan(plan: Tree): { read: CatalogPlan; faults: string[] } {
  const fields = new Fields(plan);
  const read: CatalogPlan = {
    catalog_id: fields.text('id', 'Plan id'),
    name: fields.text('name', 'Plan name'),
    description: fields.text('description', 'Plan description'),
    free: fields.flag('free', 'Plan free', true),
    bindable: fields.flag('bindable', 'Plan bindable', null),
    plan_updateable: fields.flag('plan_updateable', 'Plan updateable', null),
    maximum_polling_duration: fields.integer('maximum_polling_duration', 'Maximum polling duration'),
    maintenance_info: {},
    schemas: fields.tree('schemas', 'Plan schemas'),
    metadata: fields.tree('metadata', 'Plan metadata'),
  };
  read.maintenance_info = readMaintenance(plan['maintenance_info'], fields.faults);
  fields.faults.push(...faultsOfSchemas(read.schemas));
  return { read, faults: fields.faults };
}

function readMaintenance(given: unknown, faults: string[]): CatalogPlan['maintenance_info'] {
  if (given === undefined || given === null) return {};
  if (!isTree(given)) {
    faults.push(`Maintenance info must be a hash, but has value ${JSON.stringify(given)}`);
    return {};
  }
  const fields = new Fields(given);
  const version = fields.text('version', 'Maintenance info version');
  const description = fields.text('description', 'Maintenance info description', false);
  faults.push(...fields.faults);
  if (version !== '' && !SEMVER.test(version)) {
    faults.push(`Maintenance info version must be a Semantic Version, but has value "${version}"`);
  }
  const length = JSON.stringify(given).length;
  if (length > MAX_MAINTENANCE) {
    faults.push(
      `Maintenance info must serialize to ${MAX_MAINTENANCE} characters or fewer in JSON, but serializes to ${length} characters`,
    );
  }
  return { ...(version !== '' && { version }), ...(description !== '' && { description }) };
}

const SCHEMAS = [
  ['service_instance', 'create'],
  ['service_instance', 'update'],
  ['service_binding', 'create'],
] as const;

function faultsOfSchemas(schemas: Tree): string[] {
  return SCHEMAS.flatMap(([resource, action]) => {
    const label = `Schema ${resource}.${action}.parameters`;
    const outer = schemas[resource] ?? {};
    const middle = isTree(outer) ? (outer[action] ?? {}) : undefined;
    const schema = isTree(middle) ? (middle['parameters'] ?? {}) : undefined;
    if (!isTree(schema)) return [`${label} is not valid. must be a hash`];
    if (Object.keys(schema).length === 0) return [];
    if (JSON.stringify(schema).length > MAX_SCHEMA_BYTES)
      return [`${label} is not valid. Must not be larger than 64KB`];
    const fault = faultOfSchema(schema);
    return fault === undefined ? [] : [`${label} is not valid. ${fault}`];
  });
}

function listOf(value: unknown): Tree[] | undefined {
  return Array.isArray(value) && value.every(isTree) ? value : undefined;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasTwice(values: readonly unknown[]): boolean {
  return new Set(values).size < values.length;
}
