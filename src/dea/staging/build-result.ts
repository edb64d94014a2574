import { parse } from 'yaml';
import { z } from 'zod';
import type { StagingMessage } from '#contracts/staging.ts';
import { readLaunch, readProcfile, readRelease } from './process-types.ts';

export interface BuildResult {
  process_types: Record<string, string>;
  buildpacks: { key: string; name: string; detect_output: string; version: string | null }[];
}

const BuildpackConfig = z.looseObject({
  name: z.string().optional(),
  version: z.union([z.string(), z.number()]).optional(),
});

/**
 * What a build made of the app, out of the files that `lifecycle/stage.sh` left: a Procfile's commands go before those of the
 * buildpacks, a later buildpack's before an earlier's. Errors: ReleaseInvalid.
 */
export function readBuildResult(
  files: ReadonlyMap<string, Buffer>,
  buildpacks: StagingMessage['buildpacks'],
): BuildResult {
  const text = (name: string): string | undefined => files.get(name)?.toString('utf8');
  const places = (text('chosen') ?? '').split('\n').filter((line) => line !== '');
  const process_types: Record<string, string> = {};
  Object.assign(process_types, readRelease(text('release.yml') ?? ''));
  for (const place of places) Object.assign(process_types, readLaunch(text(`${place}.launch.yml`) ?? ''));
  Object.assign(process_types, readProcfile(text('Procfile') ?? ''));
  return {
    process_types,
    buildpacks: places.flatMap((place) => {
      const buildpack = buildpacks[Number(place)];
      if (!buildpack) return [];
      const config = readConfig(text(`${place}.config.yml`));
      const version = config.version ?? text(`${place}.version`)?.trim();
      const detect_output = text(`${place}.detected`)?.trim() ?? '';
      return [
        {
          key: buildpack.key,
          name: buildpack.name,
          detect_output,
          version: version === undefined ? null : String(version),
        },
      ];
    }),
  };
}

/** `staging_info.yml` at the droplet's root. JSON is YAML too, and quotes what YAML would trip over. */
export function stagingInfo(result: BuildResult): string {
  const last = result.buildpacks.at(-1);
  return `${JSON.stringify({
    detected_buildpack: last ? last.detect_output || last.name : '',
    start_command: result.process_types['web'] ?? '',
    effective_procfile: result.process_types,
  })}\n`;
}

/** It only names the buildpack; one that is broken is no reason to fail a build that succeeded. */
function readConfig(text: string | undefined): z.output<typeof BuildpackConfig> {
  try {
    return BuildpackConfig.parse(parse(text ?? '') ?? {});
  } catch {
    return {};
  }
}
