/** False, or why tests that need a registry are skipped on this machine. */
async function whyWithout(name: string, url: string): Promise<string | false> {
  try {
    const answer = await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(10_000) });
    return answer.ok ? false : `${name} is not reached from here: ${url} answers ${answer.status}`;
  } catch {
    return `${name} is not reached from here: ${url} does not answer`;
  }
}

export const whyWithoutPypi = () => whyWithout('PyPI', 'https://pypi.org/simple/pip/');
export const whyWithoutGoProxy = () =>
  whyWithout('the Go module proxy', 'https://proxy.golang.org/golang.org/toolchain/@v/list');
export const whyWithoutMavenCentral = () =>
  whyWithout('Maven Central', 'https://repo.maven.apache.org/maven2/org/apache/maven/apache-maven/maven-metadata.xml');
export const whyWithoutDebian = () =>
  whyWithout("Debian's archive", 'http://deb.debian.org/debian/dists/bookworm/InRelease');
export const whyWithoutRubyGems = () => whyWithout('RubyGems', 'https://rubygems.org/');
