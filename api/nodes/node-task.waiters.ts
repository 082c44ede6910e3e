import type { Redis } from 'ioredis';
import type { NodeId } from '../../contracts/ids.ts';
import { wakeChannels } from '../../contracts/wakes.ts';
import { createRecentLooks, type RecentLooks } from './node-task.looks.ts';

/** How often held polls look again while Redis cannot wake them. */
const blindSweepMs = 1000;

/** Agents that wait for work in this process, woken by node id. */
export interface TaskWaiters {
  /**
   * Registers a waiter before the caller looks for work, so that no wake falls between the look and the wait.
   * `woken` resolves true on a wake and false when the hold is over, the signal fires or a drain begins.
   */
  register(nodeId: NodeId): { wait(holdMs: number, signal: AbortSignal): Promise<boolean>; done(): void };
  wake(nodeId: string): void;
  /** What the last looks found, as far as no wake can have been missed since. */
  readonly looks: RecentLooks;
  /** Ends every wait, for a drain. */
  close(): void;
}

/** Subscribes to the wake channel. While the subscription is down every waiter looks again once a second. */
export function createTaskWaiters(subscriber: Redis): TaskWaiters {
  const waiting = new Map<string, Set<() => void>>();
  let connected = false;
  let closed = false;
  const looks = createRecentLooks();
  const wakeAll = () => {
    looks.forgetAll();
    for (const wakers of waiting.values()) for (const wake of wakers) wake();
  };
  const wakeOne = (nodeId: string) => {
    looks.woken(nodeId);
    for (const wake of waiting.get(nodeId) ?? []) wake();
  };
  subscriber.on('message', (channel, nodeId) => {
    if (channel === wakeChannels.nodeTask) wakeOne(nodeId);
  });
  const subscribe = () => {
    subscriber.subscribe(wakeChannels.nodeTask).then(
      () => {
        connected = true;
        wakeAll();
      },
      () => undefined,
    );
  };
  subscriber.on('ready', subscribe);
  subscriber.on('close', () => {
    connected = false;
    looks.forgetAll();
  });
  if (subscriber.status === 'ready') subscribe();
  const sweep = setInterval(() => {
    if (!connected) wakeAll();
  }, blindSweepMs);
  sweep.unref();

  return {
    register(nodeId) {
      let woken = closed;
      let notify: (() => void) | undefined;
      const wake = () => {
        woken = true;
        notify?.();
      };
      const wakers = waiting.get(nodeId) ?? new Set();
      wakers.add(wake);
      waiting.set(nodeId, wakers);
      return {
        async wait(holdMs, signal) {
          if (!woken && !signal.aborted) await heldUntil(holdMs, signal, (resolve) => (notify = resolve));
          // A close ends the hold: whoever looked again would be woken again at once.
          const was = woken && !closed;
          woken = closed;
          return was;
        },
        done() {
          wakers.delete(wake);
          if (wakers.size === 0) waiting.delete(nodeId);
        },
      };
    },
    wake: wakeOne,
    looks: { ...looks, isQuiet: (nodeId) => connected && looks.isQuiet(nodeId) },
    close() {
      closed = true;
      clearInterval(sweep);
      wakeAll();
    },
  };
}

function heldUntil(
  holdMs: number,
  signal: AbortSignal,
  onWake: (resolve: () => void) => void,
): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, holdMs);
    signal.addEventListener('abort', finish, { once: true });
    onWake(finish);
  });
}
