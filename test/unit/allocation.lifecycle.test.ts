import { describe, expect, it } from 'vitest';
import { releaseRefusal } from '../../contracts/allocations/allocation.guards.ts';
import {
  allocationEvents,
  allocationStates,
  isTerminalAllocationState,
  liveAllocationStates,
  nextAllocationState,
  terminalAllocationStates,
  type AllocationEvent,
  type AllocationState,
} from '../../contracts/allocations/allocation.lifecycle.ts';
import { isErrorCode, type ErrorCode } from '../../contracts/errors.ts';

const none = '-';
type Row = readonly [AllocationState, AllocationEvent, AllocationState | typeof none];

/** state, event, next state; `-` where the event is impossible. In the order of declaration. */
// prettier-ignore
const transitions: readonly Row[] = [
  ['requested',      'provisioning_started',    'provisioning'],
  ['requested',      'activated',               '-'],
  ['requested',      'provision_failed',        'failed'],
  ['requested',      'release_requested',       'releasing'],
  ['requested',      'force_release_requested', 'releasing'],
  ['requested',      'released',                '-'],
  ['requested',      'release_failed',          '-'],

  ['provisioning',   'provisioning_started',    '-'],
  ['provisioning',   'activated',               'active'],
  ['provisioning',   'provision_failed',        'failed'],
  ['provisioning',   'release_requested',       'releasing'],
  ['provisioning',   'force_release_requested', 'releasing'],
  ['provisioning',   'released',                '-'],
  ['provisioning',   'release_failed',          '-'],

  ['active',         'provisioning_started',    '-'],
  ['active',         'activated',               '-'],
  ['active',         'provision_failed',        '-'],
  ['active',         'release_requested',       'releasing'],
  ['active',         'force_release_requested', 'releasing'],
  ['active',         'released',                '-'],
  ['active',         'release_failed',          '-'],

  ['releasing',      'provisioning_started',    '-'],
  ['releasing',      'activated',               '-'],
  ['releasing',      'provision_failed',        '-'],
  ['releasing',      'release_requested',       '-'],
  ['releasing',      'force_release_requested', 'releasing'],
  ['releasing',      'released',                'released'],
  ['releasing',      'release_failed',          'release_failed'],

  ['released',       'provisioning_started',    '-'],
  ['released',       'activated',               '-'],
  ['released',       'provision_failed',        '-'],
  ['released',       'release_requested',       '-'],
  ['released',       'force_release_requested', '-'],
  ['released',       'released',                '-'],
  ['released',       'release_failed',          '-'],

  ['failed',         'provisioning_started',    '-'],
  ['failed',         'activated',               '-'],
  ['failed',         'provision_failed',        '-'],
  ['failed',         'release_requested',       '-'],
  ['failed',         'force_release_requested', '-'],
  ['failed',         'released',                '-'],
  ['failed',         'release_failed',          '-'],

  ['release_failed', 'provisioning_started',    '-'],
  ['release_failed', 'activated',               '-'],
  ['release_failed', 'provision_failed',        '-'],
  ['release_failed', 'release_requested',       'releasing'],
  ['release_failed', 'force_release_requested', 'releasing'],
  ['release_failed', 'released',                '-'],
  ['release_failed', 'release_failed',          '-'],
];

describe('the state table of an allocation', () => {
  it.each(transitions)('%s, %s -> %s', (state, event, next) => {
    expect(nextAllocationState(state, event) ?? none).toBe(next);
  });

  it('is covered: every pair once, in the order of declaration', () => {
    const pairs = allocationStates.flatMap((state) => allocationEvents.map((event) => `${state} ${event}`));
    expect(transitions.map(([state, event]) => `${state} ${event}`)).toEqual(pairs);
  });

  it('ends in released and failed, and nowhere else', () => {
    expect(terminalAllocationStates).toEqual(['released', 'failed']);
    expect(liveAllocationStates).toEqual([
      'requested',
      'provisioning',
      'active',
      'releasing',
      'release_failed',
    ]);
    expect(allocationStates.filter(isTerminalAllocationState)).toEqual(terminalAllocationStates);
  });

  it('lets every live state reach an end', () => {
    const ends = (state: AllocationState, seen: readonly AllocationState[] = []): boolean =>
      isTerminalAllocationState(state) ||
      allocationEvents.some((event) => {
        const next = nextAllocationState(state, event);
        return next !== undefined && !seen.includes(next) && ends(next, [...seen, state]);
      });
    expect(allocationStates.filter((state) => !ends(state))).toEqual([]);
  });
});

/** state, what a release answers, what a force-release answers; `-` where it is taken. */
// prettier-ignore
const guards: readonly (readonly [AllocationState, ErrorCode | '-', ErrorCode | '-'])[] = [
  ['requested',      '-',                            '-'],
  ['provisioning',   '-',                            '-'],
  ['active',         '-',                            '-'],
  ['releasing',      'allocation_already_releasing', '-'],
  ['released',       'allocation_not_active',        'allocation_not_active'],
  ['failed',         'allocation_not_active',        'allocation_not_active'],
  ['release_failed', '-',                            '-'],
];

describe('the guards of an allocation', () => {
  it.each(guards)('%s: release %s, force-release %s', (state, release, forceRelease) => {
    expect(releaseRefusal(state, 'release') ?? none).toBe(release);
    expect(releaseRefusal(state, 'force_release') ?? none).toBe(forceRelease);
    for (const code of [release, forceRelease]) expect(code === none || isErrorCode(code)).toBe(true);
  });

  it('are covered: every state once', () => {
    expect(guards.map(([state]) => state)).toEqual(allocationStates);
  });
});
