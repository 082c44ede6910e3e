/** The machine under the figures, and the processor time that each process spends. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import { descendantsOf } from '../../workers/local/process-table.ts';

export interface Machine {
  readonly cores: number;
  readonly cpu_model: string;
  readonly memory_mib: number;
  readonly architecture: string;
  readonly kernel: string;
  readonly node: string;
  readonly load_average_at_start: number;
  readonly versions: Readonly<Record<string, string>>;
}

const mebibyte = 1_048_576;
/** USER_HZ of every Linux that Node supports. */
const ticksPerSecond = 100;

function packageVersion(name: string): string {
  const file = new URL(`../../node_modules/${name}/package.json`, import.meta.url);
  const read: unknown = JSON.parse(readFileSync(file, 'utf8'));
  return typeof read === 'object' && read !== null && 'version' in read ? String(read.version) : 'unknown';
}

/** @param versions those of the servers, as they said them. */
export function describeMachine(versions: Readonly<Record<string, string>>): Machine {
  const all = cpus();
  const ours = ['@temporalio/worker', 'express', 'pg', 'drizzle-orm', 'nats', 'autocannon'];
  return {
    cores: all.length,
    cpu_model: all[0]?.model.trim() ?? 'unknown',
    memory_mib: Math.round(totalmem() / mebibyte),
    architecture: arch(),
    kernel: release(),
    node: process.version,
    load_average_at_start: loadavg()[0] ?? NaN,
    versions: { ...versions, ...Object.fromEntries(ours.map((name) => [name, packageVersion(name)])) },
  };
}

/** The commit of the checkout, with a mark when files differ from it. */
export function checkoutVersion(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

function fieldsOf(pid: number): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

/** Processor time of a process, its living descendants and its children that ended, in milliseconds. */
function cpuMsOf(pid: number): number {
  const ownTicks = (of: number): number => Number(fieldsOf(of)[11] ?? 0) + Number(fieldsOf(of)[12] ?? 0);
  const fields = fieldsOf(pid);
  const ended = Number(fields[13] ?? 0) + Number(fields[14] ?? 0);
  const ticks = [pid, ...descendantsOf(pid)].reduce((sum, one) => sum + ownTicks(one), ended);
  return (ticks * 1000) / ticksPerSecond;
}

/** Resident memory of a process and its descendants, in MiB; shared pages count once per process. */
export function memoryMibOf(pid: number): number {
  const kib = (of: number): number => {
    try {
      return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${of}/status`, 'utf8'))?.[1] ?? 0);
    } catch {
      return 0;
    }
  };
  return [pid, ...descendantsOf(pid)].reduce((sum, one) => sum + kib(one), 0) / 1024;
}

export type CpuReading = Readonly<Record<string, number>>;

/** Processor time so far, in milliseconds, by name; a process that does not run counts 0. */
export const readCpu = (pids: Readonly<Record<string, number | undefined>>): CpuReading =>
  Object.fromEntries(
    Object.entries(pids).map(([name, pid]) => {
      // The driver is the parent of all the others: only itself.
      if (pid === process.pid) return [name, (process.cpuUsage().user + process.cpuUsage().system) / 1000];
      return [name, pid === undefined ? 0 : cpuMsOf(pid)];
    }),
  );

export const cpuBetween = (before: CpuReading, after: CpuReading): CpuReading =>
  Object.fromEntries(Object.entries(after).map(([name, ms]) => [name, ms - (before[name] ?? 0)]));
