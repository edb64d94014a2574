/** Of a process by its name: `router`, `router-1`… */
export const isRouter = (name: string): boolean => /^router(-\d+)?$/.test(name);

/**
 * How Node runs each process. A small young generation keeps idle processes small. The router lives on short-lived objects and has a
 * larger one (with half of it the p99 is 1.6 to 1.8 times HAProxy's instead of 1.3 to 1.4); it does V8's chores itself instead of on
 * threads that would want its core: a tenth more requests, and no pauses that wait for a thread to get its turn (`npm run bench:router`).
 */
export function nodeFlags(name: string): string[] {
  const quiet = '--disable-warning=ExperimentalWarning';
  return isRouter(name) ? [quiet, '--v8-pool-size=0', '--max-semi-space-size=16'] : [quiet, '--max-semi-space-size=2'];
}
