import type { Exchange } from './exchange.ts';
import type { ResponseHead } from './response-head.ts';

export const VCAP_ID = '__VCAP_ID__';
const COPIED_ATTRIBUTES = /^(secure|samesite|expires|max-age|partitioned)$/;

/**
 * The instance that the client is bound to: it shows a cookie of the sticky list together with ours. Undefined when it is bound
 * to none.
 */
export function wantedInstance(cookie: string, stickyNames: readonly string[]): string | undefined {
  if (!cookie.includes(VCAP_ID)) return undefined;
  let id: string | undefined;
  let isSticky = false;
  for (const part of cookie.split(';')) {
    const equals = part.indexOf('=');
    if (equals < 0) continue;
    const name = part.slice(0, equals).trim();
    if (name === VCAP_ID)
      id = part
        .slice(equals + 1)
        .trim()
        .replaceAll('"', '');
    else if (stickyNames.includes(name)) isSticky = true;
  }
  return isSticky && id !== undefined && id !== '' ? id : undefined;
}

/**
 * The Set-Cookie line that binds the client to the endpoint that answered: when the response sets a cookie of the sticky list, or
 * when the instance that the client was bound to is gone. Empty when neither holds.
 */
export function stickyLines(exchange: Exchange, head: ResponseHead): string {
  const { endpoint, route } = exchange;
  if (endpoint === undefined || route === undefined) return '';
  const names = exchange.core.config.sticky_session_cookies;
  const set = head.setCookies?.find((cookie) =>
    names.includes(cookie.slice(0, Math.max(0, cookie.indexOf('='))).trim()),
  );
  const isLost = exchange.wantedInstance !== undefined && exchange.wantedInstance !== endpoint.identity;
  if (set === undefined && !isLost) return '';
  if (head.setCookies?.some((cookie) => cookie.startsWith(`${VCAP_ID}=`)) === true) return '';
  const attributes = (set ?? '')
    .split(';')
    .slice(1)
    .map((attribute) => attribute.trim())
    .filter((attribute) => COPIED_ATTRIBUTES.test(attribute.split('=')[0]?.trim().toLowerCase() ?? ''));
  return `Set-Cookie: ${[`${VCAP_ID}=${endpoint.identity}`, `Path=${route.path}`, 'HttpOnly', ...attributes].join('; ')}\r\n`;
}
