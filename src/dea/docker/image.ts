import { z } from 'zod';

export const Digest = z.string().regex(/^sha256:[a-f0-9]{64}$/, { error: 'not a sha256 digest' });

const Strings = z.array(z.string()).nullish();

/** The part of an image's config that says how to run it. Source: OCI image spec, config.md; null where Docker writes null. */
export const ImageConfig = z.object({
  User: z.string().nullish(),
  Env: Strings,
  Entrypoint: Strings,
  Cmd: Strings,
  WorkingDir: z.string().nullish(),
  ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
});
export type ImageConfig = z.infer<typeof ImageConfig>;

export const ImageLayer = z.object({ digest: Digest, size: z.number().int().nonnegative(), media_type: z.string() });
export type ImageLayer = z.infer<typeof ImageLayer>;

/** An image as it was when it was staged: what a restart runs, whatever its tag names by then. It is the droplet's `image.json`. */
export const StagedImage = z.object({
  host: z.string(),
  repository: z.string(),
  digest: Digest.describe('of the manifest'),
  layers: z.array(ImageLayer).describe('lowest first'),
  config: ImageConfig,
});
export type StagedImage = z.infer<typeof StagedImage>;

/** What the image runs by itself. */
export function imageArguments({ Entrypoint, Cmd }: ImageConfig): string[] {
  return [...(Entrypoint ?? []), ...(Cmd ?? [])];
}

/** As one line for people: what `cf` shows as the start command. */
export function imageCommand(config: ImageConfig): string {
  return imageArguments(config)
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(' ');
}

/** TCP ports that it exposes, the lowest first. */
export function imagePorts({ ExposedPorts }: ImageConfig): number[] {
  const ports = Object.keys(ExposedPorts ?? {}).flatMap((text) => {
    const port = Number(/^(\d+)(?:\/tcp)?$/.exec(text)?.[1]);
    return port >= 1 && port <= 65_535 ? [port] : [];
  });
  return [...new Set(ports)].sort((a, b) => a - b);
}

/** How a command begins in an image: the image's own as it says it, without a shell, which it need not have. */
export function imageLaunch(config: ImageConfig, command: string): { args: string[]; cwd: string; user: string } {
  const isOwn = command === '' || command === imageCommand(config);
  const args = isOwn ? imageArguments(config) : ['/bin/sh', '-c', command];
  return { args, cwd: config.WorkingDir || '/', user: config.User || 'root' };
}
