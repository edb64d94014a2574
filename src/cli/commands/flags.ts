/** For a flag that may stand several times. */
export const collect = (value: string, all: string[] | undefined): string[] => [...(all ?? []), value];
