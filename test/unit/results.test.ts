import { describe, expect, it } from 'vitest';
import { allowedSkipsSchema, judge, reportSchema } from '../results.ts';

const file = (name: string, status: string, ...statuses: readonly string[]) => ({
  name: `/checkout/test/${name}`,
  status,
  assertionResults: statuses.map((one, index) => ({
    status: one,
    ancestorTitles: ['area'],
    title: `case ${index}`,
  })),
});
const allowed = [
  { pattern: '^test/b\\.test\\.ts > area > case 0$', reason: 'The machine may lack what it needs.' },
];

/** files, exit code of the runner, counts, complaints; only a run without complaints is good. */
const rows = [
  [[file('a.test.ts', 'passed', 'passed', 'passed')], 0, [2, 0, 0], []],
  [[], 0, [0, 0, 0], ['no test ran']],
  [[file('b.test.ts', 'passed', 'pending')], 0, [0, 0, 1], ['no test ran']],
  [[file('a.test.ts', 'passed', 'passed'), file('b.test.ts', 'passed', 'pending')], 0, [1, 0, 1], []],
  [
    [file('a.test.ts', 'passed', 'passed', 'skipped')],
    0,
    [1, 0, 1],
    ['skipped without a reason: test/a.test.ts > area > case 1'],
  ],
  [
    [file('a.test.ts', 'passed', 'passed', 'todo')],
    0,
    [1, 0, 1],
    ['skipped without a reason: test/a.test.ts > area > case 1'],
  ],
  [
    [file('a.test.ts', 'failed', 'passed', 'failed')],
    1,
    [1, 1, 0],
    ['failed: test/a.test.ts > area > case 1'],
  ],
  [[file('a.test.ts', 'failed')], 1, [0, 1, 0], ['failed: test/a.test.ts']],
  [
    [{ ...file('a.test.ts', 'failed'), message: 'no stack\n    at start' }],
    1,
    [0, 1, 0],
    ['failed: test/a.test.ts: no stack'],
  ],
  [
    [
      {
        ...file('a.test.ts', 'failed'),
        assertionResults: [
          { status: 'failed', ancestorTitles: [], title: 'x', failureMessages: ['Error: late\n  at y', 'z'] },
        ],
      },
    ],
    1,
    [0, 1, 0],
    ['failed: test/a.test.ts > x: Error: late'],
  ],
  [[file('a.test.ts', 'failed', 'passed')], 1, [1, 1, 0], ['failed: test/a.test.ts']],
  [[file('a.test.ts', 'passed', 'passed')], 1, [1, 0, 0], ['vitest ended with exit code 1']],
] as const;

describe('the verdict over a run', () => {
  it.each(rows)(
    '%j with exit code %i counts %j and complains %j',
    (testResults, exitCode, counts, complaints) => {
      const report = reportSchema.parse({ testResults });
      const verdict = judge(report, allowedSkipsSchema.parse(allowed), { root: '/checkout', exitCode });
      expect([verdict.passed, verdict.failed, verdict.skipped]).toEqual(counts);
      expect(verdict.complaints).toEqual(complaints);
    },
  );
});
