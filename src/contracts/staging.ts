/**
 * Staging: from a package to a droplet, in a container on one DEA. Source: dea_ng's staging contract, widened by a list of
 * buildpacks (supply, finalize) as architecture decision 4 says. The order goes over NATS; the end comes back over HTTP
 * (contracts/cloud-controller.ts), which is retried until the cloud controller has it.
 */
import { z } from 'zod';
import { DockerImage, EgressRule, OrderReply, ServiceBindingFiles } from './dea.ts';
import { exchange, topic } from './topic.ts';

export const StagingBuildpack = z.object({
  key: z.string().describe('guid of an admin buildpack plus the checksum of its bits, or the git URL'),
  name: z.string(),
  url: z.string().describe('signed URL of a zip, or a git URL with an optional #branch'),
  sha256: z.string().optional(),
  kind: z.enum(['admin', 'git', 'zip']),
});
export type StagingBuildpack = z.infer<typeof StagingBuildpack>;

export const StagingMessage = z.object({
  app: z.string(),
  app_name: z.string(),
  space_name: z.string(),
  organization_name: z.string(),
  task_id: z.string().describe('guid of the build'),
  stack: z.string(),
  docker: DockerImage.optional().describe('what to stage instead of a package'),
  package_uri: z.string().describe('signed URL of the package, a zip; empty for an image'),
  package_sha256: z.string(),
  droplet_upload_uri: z.string().describe('PUT the tar.gz here'),
  cache_download_uri: z.string().optional().describe('tar.gz; 404 when there is none'),
  cache_upload_uri: z.string().optional(),
  buildpacks: z.array(StagingBuildpack).describe('in order'),
  detect: z
    .boolean()
    .describe('true: the first whose bin/detect accepts; false: all of them, supply in order, finalize last'),
  start_command: z.string().optional(),
  env: z.array(z.tuple([z.string(), z.string()])),
  vcap_application: z.record(z.string(), z.unknown()),
  vcap_services: z.record(z.string(), z.unknown()),
  service_binding_files: ServiceBindingFiles.optional().describe('instead of the variable VCAP_SERVICES'),
  memory_limit_mb: z.number().int(),
  disk_limit_mb: z.number().int(),
  waits_for_room: z
    .boolean()
    .optional()
    .describe('no DEA has room now: it is taken by one that could have, and begins when it has'),
  timeout_s: z.number(),
  egress_network_rules: z.array(EgressRule),
});
export type StagingMessage = z.infer<typeof StagingMessage>;

/** Answered when the DEA has reserved memory and disk; the outcome follows over HTTP. */
export const stagingStart = (dea: string) => exchange(`staging.${dea}.start`, StagingMessage, OrderReply);
/** Stops one build, or all of an app. */
export const stagingStop = topic(
  'staging.stop',
  z.object({ app: z.string().optional(), task_id: z.string().optional() }),
);

/** Codes are Cloud Foundry's titles: what `cf push` prints is `<code> - <its text>`. */
export const StagingErrorCode = z.enum([
  'NoAppDetectedError',
  'BuildpackCompileFailed',
  'BuildpackReleaseFailed',
  'StagingTimeExpired',
  'InsufficientResources',
  'StagingError',
]);

export const StagingResult = z.discriminatedUnion('outcome', [
  z.object({
    outcome: z.literal('staged'),
    dea: z.string(),
    droplet_sha256: z.string(),
    droplet_size: z.number().int().describe('bytes'),
    process_types: z.record(z.string(), z.string()).describe('type to start command'),
    buildpacks: z.array(
      z.object({ key: z.string(), name: z.string(), detect_output: z.string(), version: z.string().nullable() }),
    ),
    execution_metadata: z.string(),
  }),
  z.object({
    outcome: z.literal('failed'),
    dea: z.string(),
    error: z.object({ code: StagingErrorCode, message: z.string() }),
  }),
]);
export type StagingResult = z.infer<typeof StagingResult>;
