import path from 'node:path';
import { z } from 'zod';

/** What is read of vitest's JSON report. */
export const reportSchema = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      message: z.string().optional(),
      assertionResults: z.array(
        z.object({
          status: z.string(),
          ancestorTitles: z.array(z.string()),
          title: z.string(),
          failureMessages: z.array(z.string()).nullish(),
        }),
      ),
    }),
  ),
});

/** Tests that may be skipped: a regular expression over `file > describe > … > title`, and why. */
export const allowedSkipsSchema = z.array(
  z.strictObject({ pattern: z.string(), reason: z.string().min(20) }),
);

/** How a run ended; good when there is no complaint. */
export interface Verdict {
  readonly passed: number;
  /** Failed cases, and files that failed before or after their cases. */
  readonly failed: number;
  readonly skipped: number;
  /** Each a line for people. */
  readonly complaints: readonly string[];
}

const maxReasonChars = 400;

const firstLine = (message: string | undefined): string => {
  const line = message?.split('\n', 1)[0] ?? '';
  return line === '' ? '' : `: ${line.slice(0, maxReasonChars)}`;
};

/**
 * Judges a run by its report.
 * @param run the checkout's folder, and vitest's exit code: an error outside of every test shows only there.
 */
export function judge(
  report: z.infer<typeof reportSchema>,
  allowed: z.infer<typeof allowedSkipsSchema>,
  run: { root: string; exitCode: number },
): Verdict {
  const complaints: string[] = [];
  const patterns = allowed.map(({ pattern }) => new RegExp(pattern));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const file of report.testResults) {
    const name = path.relative(run.root, file.name);
    let failedHere = 0;
    for (const test of file.assertionResults) {
      const title = [name, ...test.ancestorTitles, test.title].join(' > ');
      if (test.status === 'passed') counts.passed += 1;
      else if (test.status === 'failed') {
        failedHere += 1;
        complaints.push(`failed: ${title}${firstLine(test.failureMessages?.[0])}`);
      } else {
        counts.skipped += 1;
        if (!patterns.some((pattern) => pattern.test(title)))
          complaints.push(`skipped without a reason: ${title}`);
      }
    }
    if (file.status === 'failed' && failedHere === 0) {
      failedHere = 1;
      complaints.push(`failed: ${name}${firstLine(file.message)}`);
    }
    counts.failed += failedHere;
  }
  if (counts.passed + counts.failed === 0) complaints.push('no test ran');
  if (run.exitCode !== 0 && counts.failed === 0)
    complaints.push(`vitest ended with exit code ${run.exitCode}`);
  return { ...counts, complaints };
}
