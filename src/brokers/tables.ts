/** The tables of `migrations/brokers`, column by column, for the query builder. */
import type { ColumnType, Generated, Kysely } from 'kysely';

type Json<T> = ColumnType<T, string | undefined, string>;
type Timestamp = ColumnType<Date, Date | undefined, Date>;

export type Verb = 'provision' | 'update' | 'deprovision';

export interface Instances {
  guid: string;
  service: string;
  plan_id: string;
  parameters: Json<Record<string, unknown>>;
  details: Json<Record<string, unknown>>;
  context: Json<Record<string, unknown>>;
  state: 'making' | 'ready' | 'ending';
  operation: string | null;
  operation_verb: Verb | null;
  operation_state: 'in progress' | 'succeeded' | 'failed' | null;
  operation_description: Generated<string>;
  operation_input: Json<Record<string, unknown>> | null;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface Bindings {
  guid: string;
  instance_guid: string;
  parameters: Json<Record<string, unknown>>;
  app_guid: string | null;
  state: 'making' | 'ready';
  created_at: Timestamp;
}

export interface Backups {
  key: string;
  instance_guid: string;
  size_bytes: number;
  by_clock: boolean;
  created_at: Timestamp;
}

export interface BrokerTables {
  instances: Instances;
  bindings: Bindings;
  ports: { port: number; instance_guid: string };
  backups: Backups;
}
export type Db = Kysely<BrokerTables>;
