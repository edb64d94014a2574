import { z } from 'zod';
import { Name, relationships, ToOne } from '../api/body.ts';
import { MetadataUpdate } from '../api/metadata.ts';

const MAX_ENV_BYTES = 1_048_576;

/** Names that the platform sets itself. Source: docs/v3, "Update environment variables for an app". */
export function environmentFault(name: string): string | undefined {
  if (/^VCAP_/i.test(name)) return 'environment_variables cannot start with VCAP_';
  if (/^VMC/i.test(name)) return 'environment_variables cannot start with VMC';
  if (/^PORT$/i.test(name)) return 'environment_variables cannot set PORT';
  if (name === '') return 'environment_variables key must be a minimum length of 1';
  if (name.includes('=') || name.includes('\0')) return `environment_variables key '${name}' is invalid`;
  return undefined;
}

/** Values may be of any kind; what is no string is kept as its JSON. null removes. */
const Variable = z.union([z.string(), z.number(), z.boolean(), z.null(), z.looseObject({}), z.array(z.unknown())]);

export const EnvironmentUpdate = z.record(z.string(), Variable).superRefine((variables, context) => {
  for (const name of Object.keys(variables)) {
    const fault = environmentFault(name);
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
  }
  if (JSON.stringify(variables).length > MAX_ENV_BYTES) {
    context.addIssue({ code: 'custom', message: 'environment_variables is too large' });
  }
});
export type EnvironmentUpdate = z.infer<typeof EnvironmentUpdate>;

/** What is there after an update: null removes, everything else becomes text. */
export function mergeEnvironment(
  current: Readonly<Record<string, string>>,
  update: EnvironmentUpdate,
): Record<string, string> {
  const merged = new Map(Object.entries(current));
  for (const [name, value] of Object.entries(update)) {
    if (value === null) merged.delete(name);
    else merged.set(name, typeof value === 'string' ? value : JSON.stringify(value));
  }
  return Object.fromEntries(merged);
}

const Lifecycle = z.strictObject({
  type: z.enum(['buildpack', 'docker', 'cnb'], {
    error: 'Lifecycle type is not included in list: buildpack, cnb, docker',
  }),
  data: z.strictObject({
    buildpacks: z.array(z.string()).nullable().optional(),
    stack: z.string().nullable().optional(),
    credentials: z.unknown().optional(),
  }),
});
export type LifecycleUpdate = z.infer<typeof Lifecycle>;

export const CreateApp = z.strictObject({
  name: Name,
  environment_variables: EnvironmentUpdate.optional(),
  lifecycle: Lifecycle.optional(),
  metadata: MetadataUpdate.optional(),
  relationships: relationships({ space: ToOne('Space') }),
});
export const UpdateApp = z.strictObject({
  name: Name.optional(),
  lifecycle: z.strictObject({ type: Lifecycle.shape.type.optional(), data: Lifecycle.shape.data }).optional(),
  metadata: MetadataUpdate.optional(),
});
export const UpdateEnvironment = z.strictObject({ var: EnvironmentUpdate });
export const AssignDroplet = z.strictObject({ data: z.strictObject({ guid: z.string() }) });
export const UpdateFeature = z.strictObject({
  enabled: z.boolean({ error: 'Enabled must be a boolean' }),
});
