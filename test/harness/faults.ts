/** Faults of activities on demand: every activity of a worker under test passes through a plan, keyed by allocation. */
import { CompleteAsyncError } from '@temporalio/activity';
import type {
  AllocationLocalActivities,
  NodeTaskActivities,
} from '../../contracts/allocations/allocation.activities.ts';

export type AllocationActivities = AllocationLocalActivities & NodeTaskActivities;
export type ActivityName = keyof AllocationActivities;

/** Which calls a fault is for. `label` is the event of a transition, the kind of a node task. */
export interface FaultTarget {
  readonly activity: ActivityName;
  readonly label?: string;
}

/** What happens instead of a call. `nth` counts the calls that this rule has seen, from 1. */
export type Behaviour = (run: () => Promise<unknown>, nth: number) => Promise<unknown>;

/** A fault that was ordered, and what became of it. */
export interface FaultRule {
  readonly target: FaultTarget;
  /** Calls that came through it. */
  calls(): number;
  /** True when the fault has really happened. */
  struck(): boolean;
  /** What the real activity failed with, by itself: never a fault of this plan. */
  failures(): readonly string[];
  /** Resolves when every call that it held or let run late has ended. */
  settled(): Promise<void>;
}

/** One fault of the matrix: how often it strikes is part of it. */
export interface FaultKind {
  readonly name: string;
  /** A fresh behaviour; `strike` is to be called when the fault happens. */
  readonly make: (strike: () => void) => Behaviour;
}

const injected = (when: string): Error => new Error(`injected fault ${when} the effect`);

/** The activity fails twice before it has done anything. */
const error: FaultKind = {
  name: 'error',
  make: (strike) => (run, nth) => {
    if (nth > 2) return run();
    if (nth === 2) strike();
    return Promise.reject(injected('before'));
  },
};

/** The first attempt hangs past its time-out; its effect comes after the next attempt has ended. */
const timeOut: FaultKind = {
  name: 'time-out',
  make: (strike) => {
    let overtaken: () => void = () => undefined;
    const secondEnded = new Promise<void>((resolve) => (overtaken = resolve));
    return async (run, nth) => {
      if (nth > 1) return run().finally(overtaken);
      await secondEnded;
      strike();
      return run();
    };
  },
};

/** Two attempts run at the same moment; the second one's answer is what the engine hears. */
const twice: FaultKind = {
  name: 'run twice',
  make: (strike) => async (run, nth) => {
    if (nth > 1) return run();
    strike();
    const [, second] = await Promise.allSettled([run(), run()]);
    if (second.status === 'rejected') throw second.reason;
    return second.value;
  },
};

/** The effect happens and the worker dies before it can say so. */
const crash: FaultKind = {
  name: 'crash after the effect',
  make: (strike) => async (run, nth) => {
    if (nth > 1) return run();
    try {
      await run();
    } catch (failure) {
      if (!(failure instanceof CompleteAsyncError)) throw failure;
    }
    strike();
    throw injected('after');
  },
};

/** Every fault that each activity has to bear. */
export const faultKinds: readonly FaultKind[] = [error, timeOut, twice, crash];
export const runTwice = twice;

function causesOf(failure: unknown): string {
  const messages: string[] = [];
  for (let at = failure; at instanceof Error; at = at.cause) messages.push(at.message);
  return messages.join(' < ');
}

class Rule implements FaultRule {
  readonly target: FaultTarget;
  readonly #behaviour: Behaviour;
  readonly #open = new Set<Promise<unknown>>();
  #calls = 0;
  #struck = false;
  readonly #failures: string[] = [];

  constructor(target: FaultTarget, make: FaultKind['make']) {
    this.target = target;
    this.#behaviour = make(() => (this.#struck = true));
  }

  calls = (): number => this.#calls;
  struck = (): boolean => this.#struck;
  failures = (): readonly string[] => this.#failures;

  settled = async (): Promise<void> => {
    while (this.#open.size > 0) await Promise.allSettled(this.#open);
  };

  matches(activity: ActivityName, label: string): boolean {
    return (
      this.target.activity === activity && (this.target.label === undefined || this.target.label === label)
    );
  }

  pass(run: () => Promise<unknown>): Promise<unknown> {
    this.#calls += 1;
    const nth = this.#calls;
    const watched = (): Promise<unknown> =>
      run().catch((failure: unknown) => {
        if (!(failure instanceof CompleteAsyncError))
          this.#failures.push(`call ${nth}: ${causesOf(failure)}`);
        throw failure;
      });
    const call = this.#behaviour(watched, nth);
    this.#open.add(call);
    const done = (): void => void this.#open.delete(call);
    call.then(done, done);
    return call;
  }
}

/** Which allocation suffers which fault. Allocations without a rule run undisturbed. */
export class FaultPlan {
  readonly #rules = new Map<string, Rule[]>();

  /** Orders a fault for calls that come from now on. */
  order(allocationId: string, target: FaultTarget, kind: Pick<FaultKind, 'make'>): FaultRule {
    const rule = new Rule(target, kind.make);
    this.#rules.set(allocationId, [...(this.#rules.get(allocationId) ?? []), rule]);
    return rule;
  }

  /** Holds calls back until the returned function is called. */
  hold(allocationId: string, target: FaultTarget): { readonly rule: FaultRule; letGo(): void } {
    let letGo: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    const rule = this.order(allocationId, target, {
      make: (strike) => async (run) => {
        strike();
        await gate;
        return run();
      },
    });
    return { rule, letGo: () => letGo() };
  }

  /** The same activities, behind the plan. */
  wrap(real: AllocationActivities): AllocationActivities {
    return {
      admitAllocation: (input) =>
        this.#through('admitAllocation', input.allocationId, '', () => real.admitAllocation(input)),
      resumeAllocation: (input) =>
        this.#through('resumeAllocation', input.allocationId, '', () => real.resumeAllocation(input)),
      transitionAllocation: (order) =>
        this.#through('transitionAllocation', order.allocationId, order.event, () =>
          real.transitionAllocation(order),
        ),
      refuseCommand: (input) =>
        this.#through('refuseCommand', input.allocationId, '', () => real.refuseCommand(input)),
      runNodeTask: (input) =>
        this.#through('runNodeTask', input.task.allocationId, input.task.kind, () => real.runNodeTask(input)),
    };
  }

  #through<T>(
    activity: ActivityName,
    allocationId: string,
    label: string,
    run: () => Promise<T>,
  ): Promise<T> {
    const rule = this.#rules.get(allocationId)?.find((one) => one.matches(activity, label));
    // A behaviour only ever resolves with what `run` gave.
    return rule === undefined ? run() : (rule.pass(run) as Promise<T>);
  }
}
