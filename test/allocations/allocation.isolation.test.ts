/** An installation that promises what nobody carries out (D-0010) admits nobody, also when the promise comes late. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { placements } from '../../db/schema.ts';
import { setPolicy } from '../../db/ops/policy.store.ts';
import { field } from '../harness/api.ts';
import { assertNoResidue, startLab, until, type Lab } from '../harness/lab.ts';
import { createSurely, releaseSurely } from './lives.ts';

let lab: Lab;
beforeAll(async () => {
  lab = await startLab({ nodes: ['before', 'after'] });
});
afterAll(() => lab.stop());

const store = (model: 'user-revoke' | 'full-reimage') =>
  lab.db.tx((tx) => setPolicy(tx, 'allocation.isolation_model', model));

it('refuses in its run what no worker has seen before full-reimage was stored', async () => {
  const before = await createSurely(lab, 'before');
  await lab.untilState(before, 'active');
  await lab.stopWorker();
  const waiting = await lab.create({ sku: 'after' });
  expect([waiting.status, field(waiting, 'state')]).toEqual([202, 'open']);
  await store('full-reimage');
  await lab.startWorker();
  const again = () => lab.create({ sku: 'after', key: waiting.key });
  await until('the request is decided', async () => (await again()).status !== 202);
  const refused = await again();
  expect([refused.status, field(refused, 'code')]).toEqual([409, 'sku_unavailable']);
  expect(await lab.row(waiting.id)).toBeUndefined();
  const taken = await lab.db.q.selectDistinct({ allocation: placements.allocationId }).from(placements);
  expect(taken).toEqual([{ allocation: before }]);
  // Who has a node already gives it back as ever.
  await releaseSurely(lab, before);
  await lab.untilState(before, 'released');
  await store('user-revoke');
  const after = await createSurely(lab, 'after');
  await lab.untilState(after, 'active');
  await releaseSurely(lab, after);
  await lab.untilState(after, 'released');
  await assertNoResidue(lab, [
    { id: before, state: 'released' },
    { id: after, state: 'released' },
  ]);
});
