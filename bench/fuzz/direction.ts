/** Requests or responses: what is mutated, and how two readings of it are compared. */
export interface Direction {
  seeds: readonly string[];
  /** Whether we read anything of it as a message. */
  isAccepted(text: string): boolean;
  /** `cleaned` when llhttp agrees only with what we send on; the two readings when it does not even then. */
  compare(text: string): Promise<'same' | 'cleaned' | { ours: unknown; theirs: unknown }>;
}
