import type { Logger } from 'pino';

/** A sweep that repeats until it is stopped; a failed one is logged and tried again at the next turn. */
export function startLoop(options: {
  readonly name: string;
  readonly everyMs: number;
  readonly log: Logger;
  readonly sweep: () => Promise<void>;
}): { stop(): Promise<void> } {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  const turn = () => {
    running = options
      .sweep()
      .catch((error: unknown) => {
        options.log.warn({ reconciler: options.name, error }, 'sweep failed');
      })
      .then(() => {
        if (!stopped) timer = setTimeout(turn, options.everyMs);
      });
  };
  turn();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      return running;
    },
  };
}
