import type { PartName } from './part-name.ts';
import { cacheDir, stateRoot } from './paths.ts';
import type { Candidate, Resolution } from './resolve.ts';
import { PART_NAMES, partSources, resolveParts } from './stack.ts';
import { loadStackConfig } from './stack-config.ts';

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function whatOf(resolution: Resolution): string {
  const taken = resolution.candidates.find((candidate) => candidate.taken);
  if (resolution.kind !== 'binary') return taken?.reason ?? '-';
  return resolution.binary;
}

function versionOfResolution(resolution: Resolution): string {
  if (resolution.kind === 'binary') return resolution.version;
  return resolution.kind === 'address' ? '(checked at start)' : '-';
}

function line(candidate: Candidate): string {
  return `    ${candidate.taken ? 'taken ' : 'passed'}  ${candidate.source.padEnd(11)}  ${candidate.reason}`;
}

/** What the doctor found. */
export interface Diagnosis {
  /** Printable: a table, then for every part each place that was looked at and why it was taken or passed over. */
  readonly text: string;
  /** Parts that are not there yet. */
  readonly missing: readonly PartName[];
}

/** Says what each part would resolve to, without installing or starting anything. */
export async function diagnose(): Promise<Diagnosis> {
  const config = loadStackConfig();
  const options = { env: process.env, useEnvironment: true, install: false, log: () => undefined };
  const resolutions = await resolveParts(config, PART_NAMES, options);
  const sources = partSources(config);
  const rows = [['part', 'from', 'version', 'what']];
  const details: string[] = [];
  const missing: PartName[] = [];
  for (const [name, resolution] of resolutions) {
    const from = resolution.candidates.find((candidate) => candidate.taken)?.source ?? 'missing';
    rows.push([name, from, versionOfResolution(resolution), whatOf(resolution)]);
    const { pinned, minimum } = sources[name];
    details.push(
      [`  ${name} (pinned ${pinned}, ${minimum} or later)`, ...resolution.candidates.map(line)].join('\n'),
    );
    if (resolution.kind === 'missing') missing.push(name);
  }
  const places = `cache ${cacheDir()}\nstate ${stateRoot()}`;
  return { text: [table(rows), details.join('\n'), places].join('\n\n'), missing };
}
