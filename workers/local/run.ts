/** Runs a foreground command that starts processes: whatever happens, they are stopped before it ends. */

export interface RunContext {
  /** Aborted by Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
  /** Registers what has to be stopped; the last one registered is stopped first. */
  onStop(step: () => Promise<void>): void;
}

/** Runs `work`, stops everything, and ends the process: 0 when done, 1 on a failure, 130 when interrupted. */
export async function runInteractive(
  name: string,
  work: (context: RunContext) => Promise<void>,
): Promise<never> {
  const controller = new AbortController();
  const steps: (() => Promise<void>)[] = [];
  const interrupt = () => controller.abort(new Error('interrupted'));
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt).on('SIGHUP', interrupt);
  let code = 0;
  try {
    await work({
      signal: controller.signal,
      log: (line) => void process.stdout.write(`${line}\n`),
      onStop: (stop) => steps.push(stop),
    });
  } catch (error) {
    code = controller.signal.aborted ? 130 : 1;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`${name}: ${controller.signal.aborted ? 'interrupted' : text}\n`);
  }
  for (const stop of steps.reverse()) {
    try {
      await stop();
    } catch (error) {
      code = code === 0 ? 1 : code;
      process.stderr.write(
        `${name}: while stopping: ${error instanceof Error ? error.message : String(error)}\n`,
      );
    }
  }
  process.exit(code);
}
