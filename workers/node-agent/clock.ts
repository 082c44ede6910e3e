import { readFileSync } from 'node:fs';

/** Which boot of the machine this is: monotonic readings are comparable within one boot only. */
function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return `process-${process.pid}`;
  }
}

const bootId = readBootId();

/** A moment as the machine's monotonic clock tells it; survives a restart of the process, not of the machine. */
export interface MonotonicMoment {
  readonly boot_id: string;
  readonly monotonic_ms: number;
}

/** Milliseconds of the monotonic clock. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

export const momentNow = (): MonotonicMoment => ({ boot_id: bootId, monotonic_ms: monotonicMs() });

/** Seconds since the moment, or 0 when it belongs to another boot: what is not known is not claimed. */
export function secondsSince(moment: MonotonicMoment): number {
  if (moment.boot_id !== bootId) return 0;
  return Math.max(0, (monotonicMs() - moment.monotonic_ms) / 1000);
}
