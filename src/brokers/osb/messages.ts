/** What platforms send to a broker. Source: Open Service Broker API 2.17. Unknown fields are let through, as it demands. */
import { z } from 'zod';

const JsonObject = z.record(z.string(), z.unknown());
const none = <Schema extends z.ZodType>(schema: Schema) => schema.nullish().transform((value) => value ?? undefined);

const MaintenanceInfo = z.object({ version: z.string() });

export const ProvisionRequest = z.object({
  service_id: z.string().min(1),
  plan_id: z.string().min(1),
  context: none(JsonObject),
  organization_guid: z.string().min(1),
  space_guid: z.string().min(1),
  parameters: none(JsonObject),
  maintenance_info: none(MaintenanceInfo),
});
export type ProvisionRequest = z.infer<typeof ProvisionRequest>;

export const UpdateRequest = z.object({
  service_id: z.string().min(1),
  plan_id: none(z.string().min(1)),
  context: none(JsonObject),
  parameters: none(JsonObject),
  maintenance_info: none(MaintenanceInfo),
});
export type UpdateRequest = z.infer<typeof UpdateRequest>;

export const BindRequest = z.object({
  service_id: z.string().min(1),
  plan_id: z.string().min(1),
  context: none(JsonObject),
  app_guid: none(z.string()),
  bind_resource: none(z.object({ app_guid: none(z.string()), route: none(z.string()) })),
  parameters: none(JsonObject),
});
export type BindRequest = z.infer<typeof BindRequest>;

/** Of deletions, and of the two GETs that name them. */
export const IdsQuery = z.object({ service_id: z.string().min(1), plan_id: z.string().min(1) });

export const AcceptsIncomplete = z.object({
  accepts_incomplete: z
    .enum(['true', 'false'])
    .optional()
    .transform((text) => text === 'true'),
});

export const LastOperationQuery = z.object({ operation: z.string().optional() });
