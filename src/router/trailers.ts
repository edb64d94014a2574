import { IS_FIELD, IS_TOKEN } from './bytes.ts';
import { Field, fieldAt, isConfusable, isEndToEnd } from './header-names.ts';

/**
 * Trailer lines without those that must not come so late: whatever frames, routes, authenticates, or is the router's to say
 * (RFC 9110 6.5.1). `text` ends with an empty line. Undefined when a line is malformed.
 */
export function cleanTrailers(text: string): string | undefined {
  let cleaned = '';
  for (const line of text.slice(0, -4).split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon < 1) return undefined;
    for (let i = 0; i < colon; i++) if (IS_TOKEN[line.charCodeAt(i)] !== 1) return undefined;
    for (let i = colon + 1; i < line.length; i++) if (IS_FIELD[line.charCodeAt(i)] !== 1) return undefined;
    const isOurs = fieldAt(line, 0, colon) !== Field.other || isConfusable(line, 0, colon);
    if (!isOurs && !isEndToEnd(line.slice(0, colon).toLowerCase())) cleaned += `${line}\r\n`;
  }
  return cleaned;
}
