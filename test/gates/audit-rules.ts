/** What the audit log owes to every privileged mutation of the contract. */
import { withoutComments, type SourceFile } from './source-files.ts';

/** The parts of an endpoint that matter here. */
export interface AuditedEndpoint {
  readonly id: string;
  readonly method: string;
  readonly auth: string;
  readonly audit?: string | undefined;
}

export const isPrivilegedMutation = ({ auth, method }: AuditedEndpoint): boolean =>
  auth === 'admin' && method !== 'get';

/** A call of `writeAudit`: its arguments, and where its action may be named. */
interface AuditCall {
  readonly given: string;
  /** The arguments; the body around them when they name no action themselves, but spread it in. */
  readonly scope: string;
}

function auditCalls(text: string): AuditCall[] {
  const clean = withoutComments(text);
  return [...clean.matchAll(/\bwriteAudit\(\s*\w+,\s*\{/g)].map((match) => {
    let depth = 1;
    let end = match.index + match[0].length;
    for (; depth > 0 && end < clean.length; end += 1) {
      if (clean[end] === '{') depth += 1;
      if (clean[end] === '}') depth -= 1;
    }
    const given = clean.slice(match.index, end);
    if (/\baction\b/.test(given)) return { given, scope: given };
    // The body begins after the last line that is not indented.
    const body =
      clean
        .slice(0, match.index)
        .split(/^\S.*$/m)
        .at(-1) ?? '';
    return { given, scope: body + given };
  });
}

/** Whether a call writes the endpoint's action, by its text or as `<endpoint>.audit`, as succeeded. */
const writes = ({ given, scope }: AuditCall, { id, audit }: AuditedEndpoint): boolean =>
  (scope.includes(`action: '${audit}'`) || scope.includes(`action: ${id}.audit`)) &&
  !/result: 'refused'/.test(given);

/** Where the pipeline refuses for lack of the role it must also write that down. */
const refusalPath = 'api/middleware/pipeline.ts';

/**
 * What is missing in the product: an action that a privileged mutation does not declare, its row of success, the row of
 * refusals.
 */
export function missingAudits(
  endpoints: readonly AuditedEndpoint[],
  product: readonly SourceFile[],
): string[] {
  const calls = product.flatMap(({ text }) => auditCalls(text));
  const findings = endpoints.flatMap((one) => {
    if (one.audit === undefined)
      return isPrivilegedMutation(one) ? [`${one.id}: a privileged mutation declares no audit action`] : [];
    return calls.some((call) => writes(call, one))
      ? []
      : [`${one.id}: nobody writes ${one.audit} into the audit log`];
  });
  const pipeline = product.find(({ path }) => path === refusalPath);
  const refusal = /await auditRefusal\([\s\S]*?throw new CodedError\('admin_required'\)/;
  if (pipeline === undefined || !refusal.test(withoutComments(pipeline.text)))
    findings.push(`${refusalPath}: a refusal for lack of the role is not written into the audit log`);
  return findings;
}

/** Which test proves the audit row of a mutation that succeeded, and of one that was refused. */
export type AuditProofs = Readonly<
  Record<string, { readonly succeeded: string; readonly refused: string } | undefined>
>;

/** What is missing in the tests: an endpoint without proofs, a proof of nothing, a file that does not prove it. */
export function missingProofs(
  endpoints: readonly AuditedEndpoint[],
  proofs: AuditProofs,
  tests: readonly SourceFile[],
): string[] {
  const owed = endpoints.filter((one) => one.audit !== undefined || isPrivilegedMutation(one));
  const strangers = Object.keys(proofs).filter((id) => !owed.some((one) => one.id === id));
  return [
    ...strangers.map((id) => `${id}: is no privileged mutation of the contract`),
    ...owed.flatMap((one) => {
      const proof = proofs[one.id];
      if (proof === undefined)
        return [`${one.id}: no test is named for its audit rows in test/golden/audited-mutations.json`];
      return (['succeeded', 'refused'] as const).flatMap((result) => {
        const file = tests.find(({ path }) => path === proof[result]);
        if (file === undefined) return [`${one.id}: ${proof[result]} is not there`];
        return proves(file.text, one.audit ?? '', result)
          ? []
          : [`${one.id}: ${file.path} does not look for ${one.audit} ${result} in the audit log`];
      });
    }),
  ];
}

/** The file reads the audit log and names both the action and the result. */
function proves(text: string, action: string, result: string): boolean {
  const clean = withoutComments(text);
  return (
    /audit[-_]logs/.test(clean) && clean.includes(`'${action}'`) && new RegExp(`'${result}'`).test(clean)
  );
}
