import {
  liveAllocationStates,
  type AllocationState,
} from '../../contracts/allocations/allocation.lifecycle.ts';
import { statement } from '../statement.ts';
import type { Queryable } from '../client.ts';

/** What operators watch, as the tables say it now. */
export interface OperationalFigures {
  /** Allocations that are not at their end, for every such state. */
  readonly allocations: readonly { readonly state: AllocationState; readonly count: number }[];
  /** Dead letters that nobody has dealt with. */
  readonly openDeadLetters: number;
}

const live = liveAllocationStates.map((state) => `'${state}'`).join(', ');
const figuresStatement = statement<
  Record<never, never>,
  { state: AllocationState; count: number; letters: number }
>(
  'ops-figures',
  `select s.state, count(a.id)::int as count,
     (select count(*) from dead_letters where state = 'open')::int as letters
   from unnest(array[${live}]::allocation_state[]) as s(state)
   left join allocations a on a.state = s.state and a.state in (${live})
   group by s.state`,
);

/** Counts of the moment. */
export async function operationalFigures(q: Queryable): Promise<OperationalFigures> {
  const rows = await figuresStatement(q, {});
  return {
    allocations: rows.map(({ state, count }) => ({ state, count })),
    openDeadLetters: rows[0]?.letters ?? 0,
  };
}
