import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const changeSchema = z.object({
  id: z.string(),
  text: z.string(),
  level: z.int(),
  operation: z.string().optional(),
  path: z.string().optional(),
});
const reportSchema = z.array(changeSchema);

/** One finding of oasdiff; level 3 breaks a client, level 2 may. */
export type Change = z.infer<typeof changeSchema>;

const errorLevel = 3;

/** Enumerations that grow with the product, by the last part of their place: the contract tells clients to expect more. */
const growing: ReadonlySet<string> = new Set(['code', 'kind', 'key']);

const grows = ({ id, text }: Change): boolean => {
  if (id !== 'response-property-enum-value-added') return false;
  const place = /to the `([^`]+)` response property/.exec(text)?.[1];
  return place !== undefined && growing.has(place.split('/').at(-1) ?? '');
};

/** What an annotation must name: `POST /api/v1/things`, or `DOCUMENT` for a change of no single operation. */
export const placeOf = (change: Change): string =>
  change.operation === undefined || change.path === undefined
    ? 'DOCUMENT'
    : `${change.operation} ${change.path}`;

/**
 * The annotations of a change log: lines `breaking: <METHOD> <path>: why` (or `breaking: EVENT <subject>: why`, or
 * `breaking: DOCUMENT: why`), as a list item or alone, below a second-level heading, with a reason.
 * @returns the whole lines by the place that they name.
 */
export function annotations(changelog: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  let belowHeading = false;
  for (const line of changelog.split('\n')) {
    if (line.startsWith('## ')) belowHeading = true;
    const match = /^(?:[-*] )?breaking: (DOCUMENT|EVENT \S+|[A-Z]+ \/\S*): \S/.exec(line.trim());
    const place = match?.[1];
    if (!belowHeading || place === undefined) continue;
    found.set(place, [...(found.get(place) ?? []), line.trim()]);
  }
  return found;
}

/**
 * The breaking changes that the change log does not explain. A line that the base's change log has already explained
 * an older change and does not count again.
 */
export function unexplained(
  changes: readonly Change[],
  baseChangelog: string,
  changelog: string,
): readonly Change[] {
  const old = annotations(baseChangelog);
  const now = annotations(changelog);
  return changes.filter((change) => {
    if (change.level < errorLevel || grows(change)) return false;
    const place = placeOf(change);
    const known = new Set(old.get(place));
    return !(now.get(place) ?? []).some((line) => !known.has(line));
  });
}

async function main(report: string, baseChangelog: string, changelog: string): Promise<number> {
  const changes = reportSchema.parse(JSON.parse(await readFile(report, 'utf8')));
  const refused = unexplained(
    changes,
    await readFile(baseChangelog, 'utf8'),
    await readFile(changelog, 'utf8'),
  );
  const errors = changes.filter((change) => change.level >= errorLevel && !grows(change));
  for (const change of errors) {
    const verdict = refused.includes(change) ? 'refused' : 'explained';
    console.log(`${verdict}: ${placeOf(change)}: ${change.text} [${change.id}]`);
  }
  const others = changes.length - errors.length;
  if (others > 0) console.log(`${others} more that break nobody: warnings, and enumerations that grow`);
  if (refused.length === 0) return 0;
  console.error(
    'A breaking change needs a new line in contracts/CHANGELOG.md: breaking: <METHOD> <path>: why',
  );
  return 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [report, baseChangelog, changelog] = process.argv.slice(2);
  if (report === undefined || baseChangelog === undefined || changelog === undefined) {
    throw new Error('usage: breaking-changes.ts <oasdiff report> <base change log> <change log>');
  }
  process.exitCode = await main(report, baseChangelog, changelog);
}
