import { z } from 'zod';
import { endpoint, moneySchema, pageOf, pageQuery } from '../http.api.ts';
import { skuCode } from '../allocations/allocation.api.ts';

const skuSchema = z
  .strictObject({
    code: skuCode,
    title: z.string(),
    gpu_model: z.string(),
    gpu_count: z.int().min(0),
    cpu_cores: z.int().min(1),
    memory_gib: z.int().min(1),
    price_per_hour: moneySchema,
    available: z.int().min(0).meta({ description: 'Nodes that could be placed right now.' }),
  })
  .meta({ id: 'Sku' });

export const listSkus = endpoint({
  id: 'listSkus',
  method: 'get',
  path: '/api/v1/catalog/skus',
  listener: 'public',
  tag: 'catalog',
  summary: 'What can be allocated, with price and free capacity, by code',
  auth: 'user',
  rate: 'api',
  idempotent: false,
  params: undefined,
  query: z.strictObject(pageQuery),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('SkuPage', skuSchema) } },
  errors: [],
});

export const skuEndpoints = [listSkus] as const;
