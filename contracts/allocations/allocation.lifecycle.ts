/**
 * States and events of an allocation, as data. Everything else about states is derived from this table:
 * the Postgres enum, the terminal and live sets, the docstring of the workflow and the table test.
 */
export const allocationTransitions = {
  requested: {
    provisioning_started: 'provisioning',
    provision_failed: 'failed',
    release_requested: 'releasing',
    force_release_requested: 'releasing',
  },
  provisioning: {
    activated: 'active',
    provision_failed: 'failed',
    release_requested: 'releasing',
    force_release_requested: 'releasing',
  },
  active: {
    release_requested: 'releasing',
    force_release_requested: 'releasing',
  },
  releasing: {
    force_release_requested: 'releasing',
    released: 'released',
    release_failed: 'release_failed',
  },
  released: {},
  failed: {},
  release_failed: {
    release_requested: 'releasing',
    force_release_requested: 'releasing',
  },
} as const satisfies Record<string, Record<string, string>>;

export type AllocationState = keyof typeof allocationTransitions;

/** Every event that moves an allocation; `requested` creates it. */
export const allocationEvents = [
  'provisioning_started',
  'activated',
  'provision_failed',
  'release_requested',
  'force_release_requested',
  'released',
  'release_failed',
] as const;
export type AllocationEvent = (typeof allocationEvents)[number];

export const allocationStates = Object.keys(allocationTransitions) as [AllocationState, ...AllocationState[]];

/** The state that an event leads to, or undefined where the table has no such pair. */
export function nextAllocationState(
  from: AllocationState,
  event: AllocationEvent,
): AllocationState | undefined {
  const row: Partial<Record<AllocationEvent, AllocationState>> = allocationTransitions[from];
  return row[event];
}

/** States that nothing leaves. */
export const terminalAllocationStates: readonly AllocationState[] = allocationStates.filter(
  (state) => Object.keys(allocationTransitions[state]).length === 0,
);

/** States in which the allocation holds a node or may still get one. */
export const liveAllocationStates: readonly AllocationState[] = allocationStates.filter(
  (state) => !terminalAllocationStates.includes(state),
);

export const isTerminalAllocationState = (state: AllocationState): boolean =>
  terminalAllocationStates.includes(state);
