/** Where the writable layers of containers stand, each with a limit that its neighbours do not feel. */
export interface DiskStore {
  /** for the log and for people: how limits are held */
  readonly kind: 'btrfs' | 'loop';
  /** Makes an empty folder limited to `bytes` and gives its path. */
  create(name: string, bytes: number): Promise<string>;
  setLimit(name: string, bytes: number): Promise<void>;
  bytesUsed(name: string): number;
  /** What is not there is no error. */
  remove(name: string): Promise<void>;
  list(): string[];
}
