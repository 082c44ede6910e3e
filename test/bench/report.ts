/** The figures of one benchmark: their JSON form and their table. */
import type { Machine } from './machine.ts';
import { median, type Ratio, type Summary } from './stats.ts';

export interface ThroughputSide {
  /** Lifecycles per second, one value per repeat. */
  readonly per_second: readonly number[];
  readonly median_per_second: number;
  /** Processor time per lifecycle by process, median of the repeats, in ms. */
  readonly cpu_ms: Readonly<Record<string, number>>;
  readonly cpu_ms_total: number;
  /** Share of all cores in use, median. */
  readonly busy: number;
  readonly latency_ms: Summary;
}

export interface BenchReport {
  readonly benchmark: 'gpuaas';
  readonly at: string;
  readonly checkout: string;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly warnings: readonly string[];
  readonly settings: {
    readonly repeats: number;
    readonly concurrency: number;
    readonly serial_runs: number;
    readonly postgres_fsync: boolean;
  };
  readonly shape: { readonly events: Readonly<Record<string, number>>; readonly payload_bytes: number };
  readonly serial_ms: { readonly r0: Summary; readonly r1: Summary; readonly p: Summary };
  /** R1 time / P time: 1 is "the product costs nothing on top". */
  readonly serial_ratio: Ratio;
  readonly throughput: { readonly r1: ThroughputSide; readonly p: ThroughputSide };
  /** P per second / R1 per second. */
  readonly throughput_ratio: Ratio;
  readonly latency_ms: {
    readonly create_to_201: Summary;
    readonly create_to_active: Summary;
    readonly release_to_answer: Summary;
    readonly release_to_released: Summary;
    readonly create_to_201_saturated: Summary;
    readonly pickup: Summary;
    readonly pickup_saturated: Summary;
    readonly outbox_commit_to_consumer: Summary;
    readonly outbox_written_to_consumer_saturated: Summary;
  };
  readonly read: {
    readonly api_per_second: readonly number[];
    readonly bare_per_second: readonly number[];
    readonly ratio: Ratio;
    readonly api_p99_ms: number;
    readonly bare_p99_ms: number;
  };
  readonly failures: readonly string[];
  readonly memory_mib: Readonly<Record<string, number>>;
}

const fixed = (value: number, digits = 1): string => (Number.isFinite(value) ? value.toFixed(digits) : '-');
const cells = (values: readonly string[], width: number): string =>
  values.map((one) => one.padStart(width)).join('');
const range = (ratio: Ratio): string =>
  `${fixed(ratio.median, 2)}  (${fixed(ratio.lowest, 2)} to ${fixed(ratio.highest, 2)}, ${ratio.repeats.length} repeats)`;

/** What is hoped for on an idle machine; a miss is printed, never an error. */
const aims: readonly {
  name: string;
  value: (r: BenchReport) => number;
  atLeast?: number;
  atMost?: number;
}[] = [
  { name: 'serial latency R1/P', value: (r) => r.serial_ratio.median, atLeast: 0.7 },
  { name: 'throughput P/R1', value: (r) => r.throughput_ratio.median, atLeast: 0.6 },
  { name: 'create to 201 p99, ms', value: (r) => r.latency_ms.create_to_201.p99, atMost: 40 },
  { name: 'pickup p99, ms', value: (r) => r.latency_ms.pickup.p99, atMost: 25 },
  {
    name: 'outbox to consumer p99, ms',
    value: (r) => r.latency_ms.outbox_commit_to_consumer.p99,
    atMost: 25,
  },
  { name: 'API read / bare read', value: (r) => r.read.ratio.median, atLeast: 0.6 },
];

function latencyTable(report: BenchReport): string[] {
  const rows: readonly [string, Summary][] = [
    ['R0 serial', report.serial_ms.r0],
    ['R1 serial', report.serial_ms.r1],
    ['P serial', report.serial_ms.p],
    ['create to 201', report.latency_ms.create_to_201],
    ['create to active', report.latency_ms.create_to_active],
    ['release to 202', report.latency_ms.release_to_answer],
    ['release to released', report.latency_ms.release_to_released],
    ['scheduled to agent', report.latency_ms.pickup],
    ['outbox commit to consumer', report.latency_ms.outbox_commit_to_consumer],
    ['saturated: create to 201', report.latency_ms.create_to_201_saturated],
    ['saturated: scheduled to agent', report.latency_ms.pickup_saturated],
    ['saturated: outbox to consumer', report.latency_ms.outbox_written_to_consumer_saturated],
    ['saturated: R1 lifecycle', report.throughput.r1.latency_ms],
    ['saturated: P lifecycle', report.throughput.p.latency_ms],
  ];
  return [
    `${'latency, ms'.padEnd(32)}${cells(['p50', 'p95', 'p99', 'max', 'n'], 9)}`,
    ...rows.map(([name, of]) => {
      const values = [of.p50, of.p95, of.p99, of.maximum].map((value) => fixed(value));
      return `${name.padEnd(32)}${cells([...values, String(of.count)], 9)}`;
    }),
  ];
}

function cpuTable(report: BenchReport): string[] {
  const { r1, p } = report.throughput;
  const names = [...new Set([...Object.keys(p.cpu_ms), ...Object.keys(r1.cpu_ms)])];
  return [
    `${'processor time per lifecycle, ms'.padEnd(32)}${cells(['R1', 'P'], 9)}`,
    ...names.map(
      (name) => `${name.padEnd(32)}${cells([fixed(r1.cpu_ms[name] ?? 0), fixed(p.cpu_ms[name] ?? 0)], 9)}`,
    ),
    `${'total'.padEnd(32)}${cells([fixed(r1.cpu_ms_total), fixed(p.cpu_ms_total)], 9)}`,
    `${'cores in use'.padEnd(32)}${cells(
      [r1, p].map((one) => `${fixed(one.busy * 100, 0)} %`),
      9,
    )}`,
  ];
}

/** The report as text for a terminal. */
export function renderReport(report: BenchReport): string {
  const { machine, settings, throughput } = report;
  const lines = [
    `${machine.cores} cores, ${machine.cpu_model}, ${machine.memory_mib} MiB, Linux ${machine.kernel}, Node ${machine.node}`,
    `load average at start ${fixed(machine.load_average_at_start, 2)}; checkout ${report.checkout}`,
    Object.entries(machine.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    ...report.warnings.map((warning) => `WARNING: ${warning}`),
    '',
    `R1 copies ${Object.values(report.shape.events).reduce((sum, count) => sum + count, 0)} events and ` +
      `${report.shape.payload_bytes} payload bytes of P's own history`,
    '',
    `serial latency, R1 / P        ${range(report.serial_ratio)}`,
    `throughput, P / R1            ${range(report.throughput_ratio)}`,
    `  R1 ${fixed(throughput.r1.median_per_second)}/s, P ${fixed(throughput.p.median_per_second)}/s, ` +
      `${settings.concurrency} in flight`,
    `API read / bare read          ${range(report.read.ratio)}`,
    `  API ${fixed(median(report.read.api_per_second), 0)}/s, bare ${fixed(median(report.read.bare_per_second), 0)}/s; ` +
      `p99 ${fixed(report.read.api_p99_ms, 0)} and ${fixed(report.read.bare_p99_ms, 0)} ms`,
    '',
    ...latencyTable(report),
    '',
    ...cpuTable(report),
    '',
    `memory, MiB: ${Object.entries(report.memory_mib)
      .map(([name, mib]) => `${name} ${fixed(mib, 0)}`)
      .join(', ')}`,
    `failed lifecycles: ${report.failures.length}${report.failures.length === 0 ? '' : ` (${report.failures[0] ?? ''})`}`,
    '',
    'aims for an idle machine; `loaded` means that this one was not idle, so nothing is judged',
    ...aims.map(({ name, value, atLeast, atMost }) => {
      const is = value(report);
      const met = is >= (atLeast ?? -Infinity) && is <= (atMost ?? Infinity);
      const wanted = atLeast === undefined ? `at most ${atMost ?? ''}` : `at least ${atLeast}`;
      const verdict = machine.load_average_at_start > machine.cores ? 'loaded' : met ? 'met' : 'missed';
      return `  ${verdict.padEnd(8)}${name.padEnd(30)}${fixed(is, 2).padStart(8)}  (${wanted})`;
    }),
  ];
  return lines.join('\n');
}
