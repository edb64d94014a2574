const PYPI = 'https://pypi.org/simple/pip/';

/** False, or why tests that need PyPI are skipped on this machine. */
export async function whyWithoutPypi(): Promise<string | false> {
  try {
    const answer = await fetch(PYPI, { method: 'HEAD', signal: AbortSignal.timeout(10_000) });
    return answer.ok ? false : `PyPI is not reached from here: ${PYPI} answers ${answer.status}`;
  } catch {
    return `PyPI is not reached from here: ${PYPI} does not answer`;
  }
}
