import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { getTableName, isTable } from 'drizzle-orm';
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { allocationChannels } from '../../contracts/allocations/allocation.events.ts';
import {
  allocationWorkflowId,
  asId,
  dlqReplayWorkflowId,
  type AllocationId,
  type DlqReplayId,
} from '../../contracts/ids.ts';
import { lifecycles } from '../../contracts/lifecycles.ts';
import type { TaskQueue } from '../../contracts/queues.ts';
import { openDatabase } from '../../db/client.ts';
import { createPolicyReader } from '../../db/ops/policy.store.ts';
import * as schema from '../../db/schema.ts';
import { opsActivities, provisioningActivities } from '../../workers/compose.ts';
import * as workflows from '../../workflows/index.ts';
import { filesBelow, root } from './tree.ts';

/** Channels of the domains that have a lifecycle. */
const channelsOf: Readonly<Record<string, readonly { readonly subject: string }[]>> = {
  allocations: allocationChannels,
  ops: [],
};
const workflowIds: Readonly<Record<string, (id: string) => string>> = {
  allocation: (id) => allocationWorkflowId(asId<AllocationId>(id)),
  'dlq-replay': (id) => dlqReplayWorkflowId(asId<DlqReplayId>(id)),
};
/** Suffixes that a stem may have, by folder; a file with another one belongs to no rule. */
const suffixes: Readonly<Record<string, readonly string[]>> = {
  contracts: ['lifecycle', 'messages', 'guards', 'waits', 'activities', 'events', 'api'],
  workflows: ['workflow', 'driver', 'tasks'],
  activities: ['activities', 'ports', 'outbox', 'tasks'],
  db: ['schema', 'store', 'views'],
  api: ['routes', 'commands', 'explain'],
};
const headings = [
  'Purpose',
  'Identity',
  'States',
  'Who else may change this row',
  'Unwinding',
  'Idempotency keys',
  'Timeouts',
];

const textOf = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** The first comment of a file, without its margin. */
const docstringOf = (file: string): string =>
  (/^\/\*\*([\s\S]*?)\*\//.exec(textOf(file))?.[1] ?? '').replaceAll(/^ \* ?/gm, '').trim();

/** Names of the activities that the worker of a queue really registers; nothing is connected. */
async function registeredActivities(queue: TaskQueue): Promise<readonly string[]> {
  const db = openDatabase({ url: 'postgres://nobody@127.0.0.1:9/none', applicationName: 'registry-test' });
  const redis = new Redis({ lazyConnect: true });
  const nobody = (): Promise<never> => Promise.reject(new Error('nothing is connected'));
  try {
    const activities: Record<TaskQueue, object> = {
      provisioning: provisioningActivities({ db, redis, policies: createPolicyReader(db.q) }),
      ops: opsActivities({ db, replays: { publish: nobody, newestOn: nobody } }),
    };
    return Object.keys(activities[queue]);
  } finally {
    redis.disconnect();
    await db.close();
  }
}

describe.each(lifecycles)('lifecycle $stem', (row) => {
  const workflowFile = `workflows/${row.domain}/${row.stem}.workflow.ts`;

  it('has every file that its row names, and names every file of its stem', () => {
    expect(row.files.filter((file) => !existsSync(path.join(root, file)))).toEqual([]);
    const known = (file: string): boolean => row.files.includes(file);
    for (const [folder, allowed] of Object.entries(suffixes)) {
      const ofStem = filesBelow(`${folder}/${row.domain}`, new RegExp(`^${row.stem}\\.[a-z-]+\\.ts$`));
      expect(ofStem.length, folder).toBeGreaterThan(0);
      const strange = ofStem.filter((file) => !allowed.includes(path.basename(file).split('.')[1] ?? ''));
      expect(strange, `suffixes of ${folder}`).toEqual([]);
    }
    const perLifecycle =
      /\.(lifecycle|messages|guards|activities|events|api|workflow|schema|store|views|routes)\.ts$/;
    const found = Object.keys(suffixes)
      .flatMap((folder) => filesBelow(`${folder}/${row.domain}`, new RegExp(`^${row.stem}\\.`)))
      .filter((file) => perLifecycle.test(file));
    expect(found.filter((file) => !known(file))).toEqual([]);
  });

  it('makes its workflow ids with its own helper', () => {
    expect(workflowIds[row.stem]?.('x')).toBe(`${row.workflowIdPrefix}x`);
  });

  it('has its table, which holds state and version', () => {
    const tables = Object.values(schema).filter((value) => isTable(value));
    const table = tables.find((candidate) => getTableName(candidate) === row.table);
    expect(Object.keys(table ?? {})).toEqual(expect.arrayContaining(['state', 'version']));
  });

  it('publishes on declared channels only, and every channel of its domain is its', () => {
    const channels = channelsOf[row.domain] ?? [];
    expect([...row.subjects].sort()).toEqual(channels.map(({ subject }) => subject).sort());
  });

  it('names exactly the activities that the worker of its queue registers, with those it shares the queue with', async () => {
    const named = lifecycles
      .filter((one) => one.taskQueue === row.taskQueue)
      .flatMap((one) => one.activities);
    expect([...named].sort()).toEqual([...(await registeredActivities(row.taskQueue))].sort());
  });

  it('lets every state be reached and every named state exist', () => {
    const states = Object.keys(row.transitions);
    const reached = Object.values(row.transitions).flatMap((events) => Object.values(events));
    expect(reached.filter((state) => !states.includes(state))).toEqual([]);
    expect(states.slice(1).filter((state) => !reached.includes(state))).toEqual([]);
  });

  it('has a docstring with the fixed headings in order', () => {
    const found = [...docstringOf(workflowFile).matchAll(/^([A-Z][A-Za-z ]+):/gm)].map((match) => match[1]);
    expect(found).toEqual(headings);
  });

  it('says in its docstring the state table of the contract', () => {
    const said = [...docstringOf(workflowFile).matchAll(/^ +(\w+) -(\w+)-> (\w+)$/gm)].map(([line]) =>
      line.trim(),
    );
    const contract = Object.entries(row.transitions).flatMap(([from, events]) =>
      Object.entries(events).map(([event, to]) => `${from} -${event}-> ${to}`),
    );
    expect(said).toEqual(contract);
  });
});

describe('the registry', () => {
  it('has a row for every workflow of the bundle, and the reverse', () => {
    expect(Object.keys(workflows).sort()).toEqual(lifecycles.map((row) => row.workflowType).sort());
  });

  it('has a row for every workflow and lifecycle file', () => {
    const files = [
      ...filesBelow('workflows', /\.workflow\.ts$/),
      ...filesBelow('contracts', /\.lifecycle\.ts$/),
    ];
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((file) => !lifecycles.some((row) => row.files.includes(file)))).toEqual([]);
  });

  it('has nouns as stems, each once', () => {
    const stems = lifecycles.map(({ stem }) => stem);
    expect(new Set(stems).size).toBe(stems.length);
    const verbs = /^(create|make|run|do|start|stop|release|provision|delete|handle|process|manage)(-|$)|ing$/;
    expect(stems.filter((stem) => verbs.test(stem) || !/^[a-z]+(-[a-z]+)*$/.test(stem))).toEqual([]);
  });

  it('is what the import rules take for the lifecycles', () => {
    const named = /const lifecycleStems = \[([^\]]*)\];/.exec(textOf('test/tidy/boundaries.cjs'))?.[1];
    expect(named).toBe(lifecycles.map(({ stem }) => `'${stem}'`).join(', '));
  });
});
