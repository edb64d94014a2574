/**
 * Patterns come from outside, and some take for ever in an engine that tries all ways. This is RE2's, which log-cache and Prometheus
 * have too: its time grows with the text alone. Loaded when the first pattern comes, since few queries have one.
 * Errors: the engine's own when it is no pattern; the message says why.
 */
export async function linearPattern(pattern: string): Promise<(text: string) => boolean> {
  const { RE2JS } = await import('re2js');
  const compiled = RE2JS.compile(pattern);
  return (text) => compiled.test(text);
}
