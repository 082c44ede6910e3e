/** What a tenant may leave on a simulated node, read from its files. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Kinds of residue that only a look at the node finds. */
export const nodeResidueKinds = [
  'node-user',
  'node-home',
  'node-scratch',
  'node-storage',
  'node-process',
  'node-gpu',
  'node-record',
] as const;

interface NodeFinding {
  readonly kind: (typeof nodeResidueKinds)[number];
  readonly detail: string;
}

const firstTenantId = 10_000;
const entriesOf = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);
const readJson = (file: string): Record<string, unknown> =>
  JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;

/** Everything on a node that is not the node's own. Details hold counts and places, never names. */
export async function nodeResidue(root: string): Promise<NodeFinding[]> {
  const found: NodeFinding[] = [];
  const add = (kind: NodeFinding['kind'], detail: string): void => void found.push({ kind, detail });
  for (const file of ['etc/passwd', 'etc/group']) {
    const lines = readFileSync(path.join(root, file), 'utf8').split('\n');
    const tenants = lines.filter((line) => Number(line.split(':')[2]) >= firstTenantId);
    if (tenants.length > 0) add('node-user', `${tenants.length} entries in ${file}`);
  }
  const folders = { home: 'node-home', scratch: 'node-scratch', 'mnt/gpuaas': 'node-storage' } as const;
  for (const [folder, kind] of Object.entries(folders)) {
    const entries = entriesOf(path.join(root, folder));
    if (entries.length > 0) add(kind, `${entries.length} entries in ${folder}`);
  }
  const processes = entriesOf(path.join(root, 'proc')).filter((name) => name.endsWith('.json'));
  if (processes.length > 0) add('node-process', `${processes.length} processes`);
  for (const name of entriesOf(path.join(root, 'dev')).filter((file) => /^gpu\d+\.json$/.test(file))) {
    const gpu = readJson(path.join(root, 'dev', name));
    const used = Array.isArray(gpu['processes']) && gpu['processes'].length > 0;
    if (gpu['memory_residue'] === true || gpu['allocation_id'] !== null || used) add('node-gpu', name);
  }
  const records = entriesOf(path.join(root, 'var/lib/gpuaas-node-agent/allocations'));
  if (records.length > 0) add('node-record', `${records.length} records of allocations`);
  return found;
}
