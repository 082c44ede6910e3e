import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { nodeTaskKinds, type NodeTaskKind } from '../../../../contracts/nodes/node-task.tasks.ts';
import { parseJson } from '../../protocol/verify.ts';
import { isJsonObject, readText, replaceFile } from './files.ts';

export const faultBehaviours = [
  'fail',
  'fail_permanent',
  'hang',
  'answer_twice',
  'answer_late',
  'wrong_fence',
  'rubbish',
  'dirty',
  'never',
] as const;
export type FaultBehaviour = (typeof faultBehaviours)[number];

export interface Fault {
  readonly behaviour: FaultBehaviour;
  /** How long `hang` hangs and `answer_late` waits, in milliseconds. */
  readonly delayMs: number | undefined;
}

/** Misbehaviour on demand: which fault, if any, strikes a task of a kind. */
export interface FaultSource {
  take(kind: NodeTaskKind): Fault | undefined;
  /** Leaves residue that a look at the node will find; resolves to what removes it again. */
  soil(allocationId: string | null): Promise<() => Promise<void>>;
}

interface Entry extends Fault {
  readonly kind: NodeTaskKind;
  readonly times: number;
  readonly raw: Readonly<Record<string, unknown>>;
}

function readEntry(value: unknown): Entry | undefined {
  if (!isJsonObject(value)) return undefined;
  const kind = nodeTaskKinds.find((known) => known === value['kind']);
  const behaviour = faultBehaviours.find((known) => known === value['behaviour']);
  const times = value['times'];
  const delay = value['delay_ms'];
  if (kind === undefined || behaviour === undefined || typeof times !== 'number') return undefined;
  return { kind, behaviour, times, delayMs: typeof delay === 'number' ? delay : undefined, raw: value };
}

/**
 * Faults of a simulated node, from `<root>/faults.json`: a list of `{kind, times, behaviour, delay_ms?}`. It is read before
 * each task; the first entry of the task's kind with `times` left strikes, and is counted down in the file.
 */
export function createFaultFile(root: string): FaultSource {
  const file = path.join(root, 'faults.json');
  return {
    take(kind) {
      const list = parseJson(readText(file) ?? '');
      if (!Array.isArray(list)) return undefined;
      const entries = list.map(readEntry);
      const index = entries.findIndex((entry) => entry?.kind === kind && entry.times > 0);
      const entry = entries[index];
      if (entry === undefined) return undefined;
      list[index] = { ...entry.raw, times: entry.times - 1 };
      replaceFile(file, `${JSON.stringify(list)}\n`);
      return { behaviour: entry.behaviour, delayMs: entry.delayMs };
    },

    async soil(allocationId) {
      const directory = path.join(root, 'scratch', allocationId ?? 'residue');
      await mkdir(directory, { recursive: true });
      await writeFile(path.join(directory, 'residue'), 'left behind\n');
      return async () => {
        await rm(path.join(directory, 'residue'), { force: true });
        // What else is in the folder was there before, and stays.
        await rmdir(directory).catch(() => undefined);
      };
    },
  };
}
