/**
 * How Node runs each process. A small young generation keeps idle processes small. The router lives on short-lived objects and has a
 * larger one; it does V8's chores itself instead of on threads that would want its core: a tenth more requests, and no pauses that
 * wait for a thread to get its turn (`npm run bench:router`).
 */
export function nodeFlags(name: string): string[] {
  const quiet = '--disable-warning=ExperimentalWarning';
  return name === 'router'
    ? [quiet, '--v8-pool-size=0', '--max-semi-space-size=8']
    : [quiet, '--max-semi-space-size=2'];
}
