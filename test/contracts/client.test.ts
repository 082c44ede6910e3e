import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import createClient from 'openapi-fetch';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import type {
  allocationCreateSchema,
  allocationSchema,
  explainSchema,
} from '../../contracts/allocations/allocation.api.ts';
import type { components, operations, paths } from '../../contracts/generated/client.ts';
import type { ErrorCode } from '../../contracts/errors.ts';
import type { projectSchema } from '../../contracts/identity/project.api.ts';
import type { nodeSchema } from '../../contracts/nodes/node.api.ts';
import type { nodeTaskSchema } from '../../contracts/nodes/node-task.api.ts';
import type { NodeTaskKind } from '../../contracts/nodes/node-task.tasks.ts';
import type { operationSchema } from '../../contracts/ops/operation.api.ts';

type Schemas = components['schemas'];

describe('client types', () => {
  it('are the types of the contract', () => {
    expectTypeOf<Schemas['Allocation']>().toEqualTypeOf<z.output<typeof allocationSchema>>();
    expectTypeOf<Schemas['AllocationExplanation']>().toEqualTypeOf<z.output<typeof explainSchema>>();
    expectTypeOf<Schemas['AllocationCreate']>().toExtend<z.input<typeof allocationCreateSchema>>();
    expectTypeOf<Schemas['Project']>().toEqualTypeOf<z.output<typeof projectSchema>>();
    expectTypeOf<Schemas['Node']>().toEqualTypeOf<z.output<typeof nodeSchema>>();
    // An optional member may also be undefined in zod's types; a document has no undefined.
    expectTypeOf<Schemas['Operation']>().toExtend<z.output<typeof operationSchema>>();
    expectTypeOf<Schemas['NodeTask']>().toExtend<z.output<typeof nodeTaskSchema>>();
    expectTypeOf<Schemas['NodeTask']['kind']>().toEqualTypeOf<NodeTaskKind>();
    expectTypeOf<Schemas['Error']['code']>().toEqualTypeOf<ErrorCode>();
  });

  it('a default makes a member optional in a request', () => {
    expectTypeOf<{ project_id: string; sku: string }>().toExtend<Schemas['AllocationCreate']>();
    expectTypeOf<{ sku: string }>().not.toExtend<Schemas['AllocationCreate']>();
  });

  it('an error answer knows its codes', () => {
    type Refused = operations['createAllocation']['responses'][402]['content']['application/json'];
    expectTypeOf<Refused['code']>().toEqualTypeOf<'insufficient_balance'>();
  });

  it('drive openapi-fetch against a server', async () => {
    const seen: { url: string | undefined; key: unknown; body: string }[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += String(chunk)));
      request.on('end', () => {
        seen.push({ url: request.url, key: request.headers['x-idempotency-key'], body });
        response.writeHead(402, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ code: 'insufficient_balance', message: 'm', correlation_id: 'c' }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const client = createClient<paths>({ baseUrl: `http://127.0.0.1:${port}` });
      const created = await client.POST('/api/v1/allocations', {
        params: { header: { 'X-Idempotency-Key': 'k-1' } },
        body: { project_id: '0b9f3a52-6f0e-4a53-8a4e-3f1d9f6b2c11', sku: 'h100-8x' },
      });
      expect(created.error?.code).toBe('insufficient_balance');
      expectTypeOf(created.data).toEqualTypeOf<Schemas['Allocation'] | Schemas['Operation'] | undefined>();

      await client.GET('/api/v1/allocations/{allocation_id}', { params: { path: { allocation_id: 'a' } } });
      await client.GET('/api/v1/allocations', { params: { query: { state: 'active', limit: 10 } } });
      await client.POST('/api/v1/allocations/{allocation_id}/release', {
        params: { path: { allocation_id: 'a' }, header: { 'X-Idempotency-Key': 'k-2' } },
      });
      expect(seen.map(({ url, key }) => [url, key])).toEqual([
        ['/api/v1/allocations', 'k-1'],
        ['/api/v1/allocations/a', undefined],
        ['/api/v1/allocations?state=active&limit=10', undefined],
        ['/api/v1/allocations/a/release', 'k-2'],
      ]);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('refuse a mutation without its key, an unknown path and an unknown state', () => {
    const client = createClient<paths>({ baseUrl: 'http://127.0.0.1:1' });
    const never = () => [
      // @ts-expect-error the key is required
      client.POST('/api/v1/allocations', { body: { project_id: 'p', sku: 's' } }),
      // @ts-expect-error no such path
      client.GET('/api/v1/nothing'),
      // @ts-expect-error no such state
      client.GET('/api/v1/allocations', { params: { query: { state: 'sleeping' } } }),
      // @ts-expect-error the path parameter is required
      client.GET('/api/v1/allocations/{allocation_id}'),
    ];
    expect(never).toBeTypeOf('function');
  });
});
