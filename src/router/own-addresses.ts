import { networkInterfaces } from 'node:os';

/** The addresses that others reach us at when we listen on this one. */
export function ownAddresses(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host];
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outside = all.filter((address) => !address.internal && address.family === 'IPv4');
  return outside.length > 0 ? outside.map((address) => address.address) : ['127.0.0.1'];
}
