import { RecentMap } from '../../contracts/recent-map.ts';

/** Nodes that a process remembers. */
const maxNodes = 20_000;
/** How long a look counts: a wake that was lost costs the next poll no more than this. */
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
  let looks = new RecentMap<{ readonly open: Set<string> }>({ size: maxNodes, maxAgeMs });
  /** The look of each node that a wake would spoil. */
  const underWay = new Map<string, Look>();
  return {
    begin(nodeId) {
      const look: Look = {
        done(taskIds) {
          if (underWay.get(nodeId) !== look) return;
          underWay.delete(nodeId);
          looks.set(nodeId, { open: new Set(taskIds) });
        },
      };
      underWay.set(nodeId, look);
      looks.set(nodeId, unknown);
      return look;
    },
    reported: (nodeId, taskId) => void looks.get(nodeId)?.open.delete(taskId),
    woken(nodeId) {
      underWay.delete(nodeId);
      looks.set(nodeId, unknown);
    },
    forgetAll() {
      underWay.clear();
      looks = new RecentMap({ size: maxNodes, maxAgeMs });
    },
    isQuiet: (nodeId) => looks.get(nodeId)?.open.size === 0,
  };
}

/** No task has this id, so it is never reported. */
const unknown = { open: new Set(['']) };
