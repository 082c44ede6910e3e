import { z } from 'zod';
import { endpoint, instantSchema, pageOf, pageQuery, uuidParam } from '../http.api.ts';
import { skuCode } from '../allocations/allocation.api.ts';

/** `enrolling` until the agent's first contact. Occupancy is no node state: it is derived from placements. */
export const nodeStates = [
  'enrolling',
  'available',
  'draining',
  'quarantined',
  'offline',
  'retired',
] as const;

const hostName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/)
  .max(253);

const nodeFields = {
  id: z.uuid(),
  name: hostName.meta({ description: 'Unique name.' }),
  sku: skuCode,
  state: z.enum(nodeStates),
  occupancy: z.enum(['free', 'allocated']),
  slot_count: z.int().min(1),
  slots_quarantined: z.int().min(0),
  ssh_host: z.string(),
  ssh_port: z.int().min(1).max(65535),
  last_contact_at: instantSchema.nullable(),
  created_at: instantSchema,
};

export const nodeSchema = z.strictObject(nodeFields).meta({ id: 'Node' });
const registeredSchema = z
  .strictObject({
    ...nodeFields,
    agent_secret: z
      .string()
      .meta({ description: "The agent's secret, shown in this answer and its repeats only." }),
  })
  .meta({ id: 'RegisteredNode' });

const shared = { listener: 'public', tag: 'nodes', auth: 'admin', rate: 'api' } as const;

export const adminRegisterNode = endpoint({
  ...shared,
  id: 'adminRegisterNode',
  method: 'post',
  path: '/api/v1/admin/nodes',
  summary: 'Register a node and get the secret of its agent',
  idempotent: true,
  audit: 'node.register',
  params: undefined,
  query: undefined,
  body: z
    .strictObject({
      name: hostName,
      sku: skuCode,
      ssh_host: hostName.meta({ description: 'Where tenants connect.' }),
      ssh_port: z.int().min(1).max(65535).default(22),
    })
    .meta({ id: 'NodeRegister' }),
  responses: {
    201: { description: 'Registered; `enrolling` until the agent calls.', schema: registeredSchema },
  },
  errors: ['node_already_exists', 'sku_not_found', 'idempotency_key_reused'],
});

export const adminListNodes = endpoint({
  ...shared,
  id: 'adminListNodes',
  method: 'get',
  path: '/api/v1/admin/nodes',
  summary: 'List nodes by name',
  idempotent: false,
  params: undefined,
  query: z.strictObject({
    state: z.enum(nodeStates).optional(),
    sku: skuCode.optional(),
    occupancy: z.enum(['free', 'allocated']).optional(),
    ...pageQuery,
  }),
  body: undefined,
  responses: { 200: { description: 'A page.', schema: pageOf('NodePage', nodeSchema) } },
  errors: [],
});

export const adminGetNode = endpoint({
  ...shared,
  id: 'adminGetNode',
  method: 'get',
  path: '/api/v1/admin/nodes/{node_id}',
  summary: 'One node',
  idempotent: false,
  params: uuidParam('node_id'),
  query: undefined,
  body: undefined,
  responses: { 200: { description: 'The node.', schema: nodeSchema } },
  errors: ['node_not_found'],
});

export const nodeEndpoints = [adminRegisterNode, adminListNodes, adminGetNode] as const;
