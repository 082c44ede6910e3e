import { describe, expect, it } from 'vitest';
import { lifecycles } from '../../contracts/lifecycles.ts';
import { searchAttributes, taskQueues } from '../../contracts/queues.ts';
import { loadStackConfig } from '../../workers/local/stack-config.ts';

const { temporal } = loadStackConfig();

describe('temporal-dev.yaml', () => {
  it('declares exactly the task queues of the contract, which the lifecycles use', () => {
    expect([...temporal.task_queues].sort()).toEqual([...Object.values(taskQueues)].sort());
    expect(new Set(lifecycles.map((row) => row.taskQueue))).toEqual(new Set(Object.values(taskQueues)));
  });

  it('declares exactly the search attributes of the contract, all Keyword', () => {
    const wanted = Object.fromEntries(Object.values(searchAttributes).map((name) => [name, 'Keyword']));
    expect(temporal.search_attributes).toEqual(wanted);
  });
});
