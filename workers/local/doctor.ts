import type { PartName } from './part-name.ts';
import { cacheDir, stateRoot } from './paths.ts';
import { compareVersions, versionOf, type Candidate, type Resolution } from './resolve.ts';
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
  /** Parts that are not there yet, or whose binary is another version than its place says. */
  readonly missing: readonly PartName[];
}

/** What a binary says it is, where that is not what it was taken for; a cache is trusted by the name of its folder. */
async function otherVersion(resolution: Resolution): Promise<string | undefined> {
  if (resolution.kind !== 'binary') return undefined;
  const told = await versionOf(resolution.binary);
  // 0.0.0 is a build from source that nobody stamped.
  if (told === undefined || told === '0.0.0') return undefined;
  return compareVersions(told, resolution.version) === 0 ? undefined : told;
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
    const told = await otherVersion(resolution);
    rows.push([name, from, told ?? versionOfResolution(resolution), whatOf(resolution)]);
    const { pinned, minimum } = sources[name];
    details.push(
      [
        `  ${name} (pinned ${pinned}, ${minimum} or later)`,
        ...resolution.candidates.map(line),
        ...(told === undefined ? [] : [`    wrong   says it is ${told}: remove ${whatOf(resolution)}`]),
      ].join('\n'),
    );
    if (resolution.kind === 'missing' || told !== undefined) missing.push(name);
  }
  rows.push(['issuer', 'checkout', '-', 'embedded; npm start -- --keycloak runs Keycloak instead']);
  const places =
    `cache ${cacheDir()}\nstate ${stateRoot()}\n` +
    'the demo and the tests pass over what the environment names, and start their own on free ports';
  return { text: [table(rows), details.join('\n'), places].join('\n\n'), missing };
}
