const UNITS = ['B', 'K', 'M', 'G', 'T'];

/** As Cloud Foundry writes sizes in logs: `4K`, `21.3M`, `120B`. */
export function byteSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(1).replace(/\.0$/, '')}${UNITS[unit] ?? ''}`;
}
