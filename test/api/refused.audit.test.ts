/** A force-release that the API let through and the run had to refuse: the lost race is in the audit log, once. */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTimeoutMs } from '../harness/api.ts';
import { assertNoResidue, startLab, subjectOf, until, type Lab } from '../harness/lab.ts';
import { runTwice } from '../harness/faults.ts';

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({ nodes: ['raced', 'raced-twice', 'raced-by-user'] });
}, startTimeoutMs);
afterAll(() => lab?.stop(), startTimeoutMs);

interface AuditRow extends Record<string, unknown> {
  readonly result: string;
}

const auditOf = async (id: string): Promise<AuditRow[]> => {
  const found = await lab.db.q.execute<AuditRow>(
    sql`select actor_user_id, actor_role, action, target_type, result, correlation_id, details
        from audit_logs where target_id = ${id} order by id`,
  );
  return found.rows;
};

/** An allocation whose run is about to write that it is released, and has not yet. */
async function almostReleased(sku: string) {
  const { id, status } = await lab.create({ sku });
  expect(status).toBe(201);
  await lab.untilState(id, 'active');
  const last = lab.faults.hold(id, { activity: 'transitionAllocation', label: 'released' });
  expect((await lab.release(id)).status).toBe(202);
  await until('the last transition is under way', () => last.rule.struck());
  return { id, letGo: last.letGo };
}

/** Waits until a command of this kind has come to the run: its operation is open, and the run knows it. */
const untilOpen = (id: string, kind: string): Promise<void> =>
  until(`${kind} of ${id} is open`, async () => {
    const found = await lab.db.q.execute(
      sql`select 1 from operations where entity_id = ${id}::uuid and state = 'open' and kind = ${kind}`,
    );
    return found.rows.length === 1;
  });

/** Waits until the run has accepted the force-release, told by its own argument. */
const untilAccepted = (id: string): Promise<void> =>
  until(`the run of ${id} has the command`, async () => {
    const history = await lab.temporal.workflow.getHandle(`allocation-${id}`).fetchHistory();
    return (history.events ?? []).some((event) => {
      const accepted = event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest;
      const [order] = accepted?.input?.args?.payloads ?? [];
      return Buffer.from(order?.data ?? [])
        .toString()
        .includes('"force_release"');
    });
  });

describe('a force-release that comes too late', () => {
  it.each([
    ['raced', false],
    ['raced-twice', true],
  ])('%s: is refused with an audit row, also when two attempts run at once: %s', async (sku, doubled) => {
    const { id, letGo } = await almostReleased(sku);
    const rule = doubled ? lab.faults.order(id, { activity: 'refuseCommand' }, runTwice) : undefined;
    const key = randomUUID();
    const forced = lab.forceRelease(id, { key });
    await untilOpen(id, 'allocation.force_release');
    await untilAccepted(id);
    letGo();
    const { headers } = await forced;
    let answer = await lab.forceRelease(id, { key });
    await until('the command is decided', async () => {
      if (answer.status === 202 || answer.status === 503) answer = await lab.forceRelease(id, { key });
      return answer.status !== 202 && answer.status !== 503;
    });
    expect(answer).toMatchObject({ status: 409, body: { code: 'allocation_not_active' } });
    expect(rule?.struck() ?? true).toBe(true);
    expect(await auditOf(id)).toEqual([
      {
        actor_user_id: subjectOf('dev-admin'),
        actor_role: 'admin',
        action: 'allocation.force_release',
        target_type: 'allocation',
        result: 'refused',
        correlation_id: headers.get('x-correlation-id'),
        details: { code: 'allocation_not_active' },
      },
    ]);
    await assertNoResidue(lab, [{ id, state: 'released' }]);
  });

  it("a user's release that comes too late is refused without one: it is no privileged act", async () => {
    const { id, letGo } = await almostReleased('raced-by-user');
    // In releasing the API refuses a second release itself.
    expect(await lab.release(id)).toMatchObject({
      status: 409,
      body: { code: 'allocation_already_releasing' },
    });
    letGo();
    await lab.untilState(id, 'released');
    expect(await auditOf(id)).toEqual([]);
    await assertNoResidue(lab, [{ id, state: 'released' }]);
  });
});
