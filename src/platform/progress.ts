/** Tells a person, phase by phase, what is done and how long it took. */
export interface Progress {
  /** Runs one phase; its line stands when it is over, with its time. A result may add words of its own. */
  phase<T>(name: string, work: () => Promise<T>, note?: (result: T) => string): Promise<T>;
  say(text: string): void;
}

export function printProgress(write: (text: string) => void): Progress {
  return {
    phase: async (name, work, note) => {
      const started = performance.now();
      const result = await work();
      const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(6);
      write(`${seconds} s  ${name}${note ? ` ${note(result)}` : ''}\n`);
      return result;
    },
    say: (text) => write(`${text}\n`),
  };
}
