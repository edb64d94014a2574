/** Rejects with the signal's reason when it is aborted, and otherwise never ends. */
export async function rejectionOf(signal: AbortSignal): Promise<never> {
  return await new Promise((_, reject) => {
    signal.throwIfAborted();
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
