import { RecentMap } from '../../contracts/recent-map.ts';

/** Nodes that a process remembers. */
const maxNodes = 20_000;
/** How long a look counts. */
const maxAgeMs = 1000;

/** A look for a node's tasks that is under way. */
export interface Look {
  /** The look is over; what it found was offered. */
  done(taskIds: readonly string[]): void;
}

/**
 * What a process knows of its own last looks for tasks. A poll mostly comes right after the report of the task that the
 * poll before it was given: nothing can have come since without a wake, so it need not look before it waits.
 */
export interface RecentLooks {
  begin(nodeId: string): Look;
  /** The node has reported a task. */
  reported(nodeId: string, taskId: string): void;
  /** Something was queued for the node. */
  woken(nodeId: string): void;
  /** Wakes may have been missed. */
  forgetAll(): void;
  /**
   * True when the last look offered nothing but what was reported since, and no wake came after it began. What another
   * poll of the node held locked at that moment counts as nothing: it is found when the wait is over.
   */
  isQuiet(nodeId: string): boolean;
}

export function createRecentLooks(): RecentLooks {
  const none = () => new RecentMap<Seen>({ size: maxNodes, maxAgeMs });
  let looks = none();
  return {
    begin(nodeId) {
      const underWay: Seen = {};
      looks.set(nodeId, underWay);
      return {
        // A wake, or a look that began later, has put another in its place.
        done(taskIds) {
          if (looks.get(nodeId) === underWay) looks.set(nodeId, { open: new Set(taskIds) });
        },
      };
    },
    reported: (nodeId, taskId) => void looks.get(nodeId)?.open?.delete(taskId),
    woken: (nodeId) => looks.set(nodeId, {}),
    forgetAll() {
      looks = none();
    },
    isQuiet: (nodeId) => looks.get(nodeId)?.open?.size === 0,
  };
}

/** What was offered and is not reported yet; without `open` nobody knows. */
interface Seen {
  readonly open?: Set<string>;
}
