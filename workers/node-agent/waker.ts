/** Waiting that can be cut short: every waiter of the moment is released by `wake`. */
export class Waker {
  private readonly waiting = new Set<() => void>();

  wake(): void {
    for (const release of [...this.waiting]) release();
  }

  /** Resolves after `ms`, on `wake`, or when the signal fires; whichever is first. Never rejects. */
  wait(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const release = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', release);
        this.waiting.delete(release);
        resolve();
      };
      const timer = setTimeout(release, ms);
      signal?.addEventListener('abort', release, { once: true });
      this.waiting.add(release);
    });
  }
}
