/**
 * Waits until `probe` gives something other than undefined or false, and returns it. The limit is generous since machines
 * differ; it says only when to stop hoping.
 */
export async function eventually<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  limit_s = 30,
): Promise<T> {
  const end = performance.now() + limit_s * 1000;
  let last: unknown;
  for (;;) {
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) throw new Error(`${what}: not within ${limit_s} s`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
