/**
 * The order after one buildpack was put at `position` (from 1 on; beyond the end means last) of those of its lifecycle, or
 * taken out.
 */
export function reorder(guids: readonly string[], moved: string, position: number | undefined): string[] {
  const others = guids.filter((guid) => guid !== moved);
  if (position === undefined) return others;
  const at = Math.min(Math.max(position, 1), others.length + 1) - 1;
  return [...others.slice(0, at), moved, ...others.slice(at)];
}
