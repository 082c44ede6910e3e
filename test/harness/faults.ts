/**
 * Faults of activities on demand. The plan lives in the test; a worker asks it before every activity what to do, does that
 * to itself, and reports what it did. A fault that no worker reported has not happened.
 */
import type {
  AllocationLocalActivities,
  NodeTaskActivities,
} from '../../contracts/allocations/allocation.activities.ts';
import type {
  DlqReplayActivities,
  DlqReplayLocalActivities,
} from '../../contracts/ops/dlq-replay.activities.ts';

export type ActivityName = keyof (AllocationLocalActivities &
  NodeTaskActivities &
  DlqReplayLocalActivities &
  DlqReplayActivities);

/** Which calls a fault is for. `label` is the event of a transition, the kind of a node task. */
export interface FaultTarget {
  readonly activity: ActivityName;
  readonly label?: string;
}

/** A call that has reached a worker. */
export interface Call {
  /** Of whatever entity the lifecycle has. */
  readonly allocationId: string;
  readonly activity: string;
  readonly label: string;
  /** The engine's count, from 1. */
  readonly attempt: number;
}

/** What a worker does with a call: `die` is SIGKILL to its own process. */
export type Order = 'run' | 'fail' | 'run_twice' | 'die_before' | 'die_after';

/** What a worker has done: with a death, what it does as soon as the report has arrived. */
export interface Done {
  readonly did: Order;
  /** What the real activity failed with, by itself. */
  readonly failures: readonly string[];
}

/** How a worker asks and reports; inside the test's own process, or through a socket. */
export interface FaultLink {
  begin(call: Call): Promise<{ readonly order: Order; readonly callId: number }>;
  ended(callId: number, done: Done): Promise<void>;
}

/** One fault that was ordered: when it strikes is part of it. `nth` counts the calls that it has seen, from 1. */
export interface Behaviour {
  /** A pending answer holds the call back. */
  order(nth: number): Order | Promise<Order>;
  ended?(nth: number, did: Order, pid: number): void;
  /** The process is gone; `killed` when SIGKILL ended it. */
  gone?(pid: number, killed: boolean): void;
  /** True when the fault has really happened. */
  struck(): boolean;
}

/** One fault of the matrix. */
export interface FaultKind {
  readonly name: string;
  make(): Behaviour;
}

/** A fault that was ordered, and what became of it. */
export interface FaultRule {
  readonly target: FaultTarget;
  /** Calls that came through it. */
  calls(): number;
  struck(): boolean;
  /** What the real activity failed with, by itself: never a fault of this plan. */
  failures(): readonly string[];
  /** Resolves when every call that it held or let run late has ended. */
  settled(): Promise<void>;
}

/** The activity fails twice before it has done anything. */
const error: FaultKind = {
  name: 'error',
  make() {
    let failed = 0;
    return {
      order: (nth) => (nth <= 2 ? 'fail' : 'run'),
      ended: (_nth, did) => void (failed += did === 'fail' ? 1 : 0),
      struck: () => failed === 2,
    };
  },
};

/** The first attempt hangs past its time-out; its effect comes after the next attempt has ended. */
const timeOut: FaultKind = {
  name: 'time-out',
  make() {
    let overtaken: () => void = () => undefined;
    const secondEnded = new Promise<void>((resolve) => (overtaken = resolve));
    let late = false;
    return {
      order: (nth) => (nth === 1 ? secondEnded.then(() => 'run') : 'run'),
      ended: (nth) => {
        if (nth === 1) late = true;
        else overtaken();
      },
      struck: () => late,
    };
  },
};

/** Two attempts run at the same moment; the second one's answer is what the engine hears. */
const twice: FaultKind = {
  name: 'run twice',
  make() {
    let ran = false;
    return {
      order: (nth) => (nth === 1 ? 'run_twice' : 'run'),
      ended: (_nth, did) => void (ran ||= did === 'run_twice'),
      struck: () => ran,
    };
  },
};

const death = (name: string, order: 'die_before' | 'die_after'): FaultKind => ({
  name,
  make() {
    let dying: number | undefined;
    let dead = false;
    return {
      // A neighbour's death may have taken an earlier call with it.
      order: () => (dying === undefined ? order : 'run'),
      ended: (_nth, did, pid) => {
        if (did === order) dying = pid;
      },
      gone: (pid, killed) => void (dead ||= pid === dying && killed),
      struck: () => dead,
    };
  },
});

/** The effect happens and the worker's process is dead before it can say so. */
export const crashAfter = death('crash after the effect', 'die_after');
/** The worker's process dies with the call in its hands. */
export const crashBefore = death('crash before the effect', 'die_before');
export const runTwice = twice;
/** Every fault that each activity has to bear. */
export const faultKinds: readonly FaultKind[] = [error, timeOut, twice, crashAfter];

/** True for faults that take the whole worker process with them. */
export const isDeath = (kind: FaultKind | undefined): boolean => kind === crashAfter || kind === crashBefore;

interface OpenCall {
  readonly rule: Rule | undefined;
  readonly nth: number;
  readonly pid: number;
  readonly note: (what: string) => void;
}

class Rule implements FaultRule {
  readonly target: FaultTarget;
  readonly behaviour: Behaviour;
  readonly #open = new Set<number>();
  readonly #waiting: (() => void)[] = [];
  #calls = 0;
  readonly #failures: string[] = [];

  constructor(target: FaultTarget, behaviour: Behaviour) {
    this.target = target;
    this.behaviour = behaviour;
  }

  calls = (): number => this.#calls;
  struck = (): boolean => this.behaviour.struck();
  failures = (): readonly string[] => this.#failures;

  async settled(): Promise<void> {
    while (this.#open.size > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  matches({ activity, label }: Call): boolean {
    const { target } = this;
    return target.activity === activity && (target.label === undefined || target.label === label);
  }

  enter(): number {
    this.#calls += 1;
    this.#open.add(this.#calls);
    return this.#calls;
  }

  /** The call has ended, or its process has. */
  leave(nth: number, failures: readonly string[] = []): void {
    this.#failures.push(...failures.map((text) => `call ${nth}: ${text}`));
    this.#open.delete(nth);
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** Which allocation suffers which fault. Allocations without a rule run undisturbed. */
export class FaultPlan {
  readonly #rules = new Map<string, Rule[]>();
  readonly #calls = new Map<number, OpenCall>();
  readonly #trails = new Map<string, string[]>();
  readonly #dying = new Set<number>();
  readonly #waiting: (() => void)[] = [];
  #lastCall = 0;

  /** Processes that have died by order, or do so now. */
  get dying(): ReadonlySet<number> {
    return this.#dying;
  }

  /** Orders a fault for calls that come from now on. */
  order(allocationId: string, target: FaultTarget, kind: Pick<FaultKind, 'make'>): FaultRule {
    const rule = new Rule(target, kind.make());
    this.#rules.set(allocationId, [...(this.#rules.get(allocationId) ?? []), rule]);
    return rule;
  }

  /** Holds calls back until the returned function is called; then they run, or suffer a fault. */
  hold(
    allocationId: string,
    target: FaultTarget,
    then?: FaultKind,
  ): { readonly rule: FaultRule; letGo(): void } {
    let letGo: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    let held = false;
    const fault = then?.make();
    const rule = this.order(allocationId, target, {
      make: () => ({
        ...fault,
        order: async (nth) => {
          held = true;
          await gate;
          return fault?.order(nth) ?? 'run';
        },
        struck: () => fault?.struck() ?? held,
      }),
    });
    return { rule, letGo: () => letGo() };
  }

  /** The link of a worker that runs in process `pid`. */
  link(pid: number = process.pid): FaultLink {
    return {
      begin: (call) => this.#begin(call, pid),
      ended: (callId, done) => this.#ended(callId, done),
    };
  }

  /** To be told of every worker process that has ended: its calls will not. */
  processGone(pid: number, killed: boolean): void {
    for (const rule of [...this.#rules.values()].flat()) rule.behaviour.gone?.(pid, killed);
    for (const [callId, call] of this.#calls) {
      if (call.pid !== pid) continue;
      this.#calls.delete(callId);
      call.note('lost with its process');
      call.rule?.leave(call.nth);
    }
    this.#tellChange();
  }

  /** Every call of an allocation, what was ordered and what was done, in order. */
  trail(allocationId: string): readonly string[] {
    return this.#trails.get(allocationId) ?? [];
  }

  async #begin(call: Call, pid: number): Promise<{ order: Order; callId: number }> {
    const callId = (this.#lastCall += 1);
    const rule = this.#rules.get(call.allocationId)?.find((one) => one.matches(call));
    // Its fault would be lost with the process: it comes again, to another one.
    if (rule !== undefined && this.#dying.has(pid)) return new Promise<never>(() => undefined);
    const nth = rule?.enter() ?? 0;
    const note = this.#noter(call, callId, pid);
    this.#calls.set(callId, { rule, nth, pid, note });
    const order = rule === undefined ? 'run' : await rule.behaviour.order(nth);
    note(`ordered ${order}${rule === undefined ? '' : ` as call ${nth} of its fault`}`);
    return { order, callId };
  }

  async #ended(callId: number, { did, failures }: Done): Promise<void> {
    const call = this.#calls.get(callId);
    if (call === undefined) return;
    this.#calls.delete(callId);
    call.note(`did ${did}${failures.length === 0 ? '' : `: ${failures.join('; ')}`}`);
    call.rule?.behaviour.ended?.(call.nth, did, call.pid);
    call.rule?.leave(call.nth, failures);
    this.#tellChange();
    if (did !== 'die_before' && did !== 'die_after') return;
    await this.#nothingElseUnderWay(call.pid);
    this.#dying.add(call.pid);
  }

  /** One death must not take the fault of another cell with it: whoever has begun in that process, or is
   * held back there, comes to its point first. */
  async #nothingElseUnderWay(pid: number): Promise<void> {
    const another = (): boolean =>
      [...this.#calls.values()].some((call) => call.pid === pid && call.rule !== undefined);
    while (another()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #tellChange(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #noter({ allocationId, activity, label, attempt }: Call, callId: number, pid: number) {
    const trail = this.#trails.get(allocationId) ?? [];
    this.#trails.set(allocationId, trail);
    const name = `#${callId} ${activity} ${label} attempt ${attempt} in ${pid}`;
    const note = (what: string): void => {
      trail.push(`${new Date().toISOString()} ${name}: ${what}`);
    };
    note('came');
    return note;
  }
}
