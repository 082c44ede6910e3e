import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { MonotonicMoment } from './clock.ts';
import { unlessMissing } from './failure.ts';
import { parseJson } from './protocol/verify.ts';

/** What the agent knows of an allocation on its node, from the first task until the node was proven clean of it. */
export interface AllocationRecord {
  readonly allocation_id: string;
  readonly username: string;
  readonly uid: number;
  readonly gpu_slots: readonly number[];
  /** When the tenant's last process was proven gone. */
  readonly stopped?: MonotonicMoment;
}

/** One small file per allocation. */
export class AllocationRecords {
  private readonly directory: string;

  constructor(stateDirectory: string) {
    this.directory = path.join(stateDirectory, 'allocations');
  }

  async prepare(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
  }

  async read(allocationId: string): Promise<AllocationRecord | undefined> {
    const text = await unlessMissing(readFile(this.fileOf(allocationId), 'utf8'), undefined);
    const value = text === undefined ? undefined : parseJson(text);
    return isRecord(value) ? value : undefined;
  }

  /** Every record but the one of the allocation named. */
  async others(allocationId: string | null): Promise<AllocationRecord[]> {
    const names = await unlessMissing(readdir(this.directory), []);
    const ids = names.flatMap((name) => (name.endsWith('.json') ? [name.slice(0, -'.json'.length)] : []));
    const found = await Promise.all(ids.filter((id) => id !== allocationId).map((id) => this.read(id)));
    return found.filter((record) => record !== undefined);
  }

  async write(record: AllocationRecord): Promise<void> {
    const file = this.fileOf(record.allocation_id);
    await writeFile(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${file}.new`, file);
  }

  async remove(allocationId: string): Promise<void> {
    await rm(this.fileOf(allocationId), { force: true });
  }

  /** Ids are uuids by their schema: none leaves the folder. */
  private fileOf(allocationId: string): string {
    return path.join(this.directory, `${allocationId}.json`);
  }
}

const isRecord = (value: unknown): value is AllocationRecord =>
  typeof value === 'object' &&
  value !== null &&
  'username' in value &&
  'uid' in value &&
  'gpu_slots' in value;
