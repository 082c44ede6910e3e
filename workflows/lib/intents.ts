import { CancellationScope, condition, isCancellation } from '@temporalio/workflow';

/** Settled work, or `interrupted` when an intent asked for it to stop. */
export type Settled<T> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'error'; readonly error: unknown }
  | { readonly kind: 'interrupted' };

/**
 * Runs work while intents arrive. Handlers only record an intent; this loop, on behalf of the main function, takes them
 * one by one: `take` answers it and says whether the work must stop for it.
 */
export async function whileTaking<T>(
  intents: readonly unknown[],
  work: () => Promise<T>,
  take: () => Promise<'go on' | 'stop'>,
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
    if ((await take()) === 'stop') {
      scope.cancel();
      await running;
      return { kind: 'interrupted' };
    }
  }
}
