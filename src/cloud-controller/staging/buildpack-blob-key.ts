/** Where a buildpack's bits lie in `cc-buildpacks`: new bits get a new key, so that nobody reads half of each. */
export function buildpackBlobKey(guid: string, sha256: string): string {
  return `${guid}_${sha256}`;
}
