import { CancellationScope, condition, isCancellation } from '@temporalio/workflow';

/** What became of one intent. */
export type Taken = 'go on' | 'stop' | 'later';

/** Settled work, or `interrupted` when an intent asked for it to stop. */
export type Settled<T> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'error'; readonly error: unknown }
  | { readonly kind: 'interrupted' };

/**
 * Runs work while intents arrive. Handlers only record an intent; this loop, on behalf of the main function, takes them
 * one by one: `take` answers it and says whether the work must stop for it, or that it must wait until the work has
 * settled (`later`; it is still among the intents then).
 */
export async function whileTaking<T>(
  intents: readonly unknown[],
  work: () => Promise<T>,
  take: () => Promise<Taken>,
): Promise<Settled<T>> {
  const scope = new CancellationScope({ cancellable: true });
  let settled: Settled<T> | undefined;
  const running = scope.run(work).then(
    (value) => {
      settled = { kind: 'value', value };
    },
    (error: unknown) => {
      settled = isCancellation(error) ? { kind: 'interrupted' } : { kind: 'error', error };
    },
  );
  for (;;) {
    await condition(() => settled !== undefined || intents.length > 0);
    if (settled !== undefined) return settled;
    const taken = await take();
    if (taken === 'go on') continue;
    if (taken === 'stop') scope.cancel();
    await running;
    if (taken === 'stop') return { kind: 'interrupted' };
  }
}
