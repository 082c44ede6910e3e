import { TaskFailure } from '../failure.ts';
import { areaRoots, areasOf, isWithin, plainPath, type Area } from '../runtime/areas.ts';
import { countEntries } from '../runtime/trees.ts';
import { gpusOfTask } from './gpus.ts';
import {
  ofAllocation,
  type Finding,
  type ParamsOf,
  type ResultOf,
  type TaskContext,
  type TaskHandler,
} from './task.ts';

type Params = ParamsOf<'node.validate_clean'>;
type Check = Params['checks'][number];

/** What one check looked at, and what it found. */
interface Looked {
  readonly examined: Readonly<Record<string, number>>;
  readonly findings: readonly Finding[];
}

/** Entries beyond this are not counted one by one. */
const MOST_COUNTED = 10_000;

/** Looks for anything that a tenant left. Nothing is changed, but the record of an allocation that is proven gone. */
export const validateClean: TaskHandler<'node.validate_clean'> = async (
  params,
  context,
): Promise<ResultOf<'node.validate_clean'>> => {
  const findings: Finding[] = [];
  const proof: Record<string, unknown> = {};
  for (const check of new Set(params.checks)) {
    context.signal.throwIfAborted();
    const looked = await checks[check](params, context);
    findings.push(...looked.findings);
    proof[check] = { ...looked.examined, found: looked.findings.length };
  }
  const clean = findings.length === 0;
  if (clean && context.allocationId !== null && params.checks.includes('paths')) {
    await context.records.remove(context.allocationId);
  }
  return {
    task_type: 'node.validate_clean',
    ...ofAllocation(context.allocationId),
    clean,
    findings: findings.map((finding) => ({ ...finding })),
    proof,
  };
};

const checks: Record<Check, (params: Params, context: TaskContext) => Promise<Looked>> = {
  async gpu_processes(params, context) {
    const gpus = await gpusOfTask(context, params.gpu_pci_addresses);
    const findings: Finding[] = [];
    const states = gpus.length === 0 ? [] : await context.runtime.gpus.inspect(gpus);
    for (const [index, { processes, residueBytes }] of states.entries()) {
      const where = gpus[index]?.pciAddress ?? '';
      if (processes > 0) findings.push({ kind: 'gpu_processes', where, count: processes });
      if (residueBytes > 0) findings.push({ kind: 'gpu_memory_residue', where, bytes: residueBytes });
    }
    return { examined: { gpus: gpus.length }, findings };
  },

  async runtime_containers(_params, context) {
    const ids = await context.runtime.containers.list(context.allocationId);
    const findings =
      ids.length === 0 ? [] : [{ kind: 'runtime_containers', where: 'container_runtime', count: ids.length }];
    return { examined: { containers: ids.length }, findings };
  },

  async mounts(params, context) {
    const mounted = await context.runtime.mounts.list();
    const areas = await areasOfTask(params, context);
    const findings = areas.flatMap(({ name, path }) => {
      const count = mounted
        .filter((at) => at !== path || !isRoot(path))
        .filter((at) => isWithin(at, path)).length;
      return count === 0 ? [] : [{ kind: 'mount', where: name, count }];
    });
    return { examined: { mounts: mounted.length, areas: areas.length }, findings };
  },

  async paths(params, context) {
    const { runtime, signal } = context;
    const targets = (await areasOfTask(params, context)).filter((area) => !isRoot(area.path));
    const findings: Finding[] = [];
    for (const { name, path } of targets) {
      const count = await countEntries(runtime.hostPath(path), MOST_COUNTED, signal);
      if (count > 0) findings.push({ kind: 'path', where: name, count });
    }
    findings.push(...(await tenantRemains(context)));
    return { examined: { paths: targets.length }, findings };
  },

  async block_devices(params, context) {
    const { blockDevices } = context.runtime;
    const devices = params.block_devices ?? (await blockDevices.wipeable());
    const findings: Finding[] = [];
    let bytes = 0;
    for (const [index, device] of devices.entries()) {
      try {
        const looked = await blockDevices.isZero(device, context.signal);
        bytes += looked.bytesRead;
        if (!looked.zero) findings.push({ kind: 'block_device_data', where: `device ${index}` });
      } catch (error) {
        if (!(error instanceof TaskFailure)) throw error;
        findings.push({ kind: error.code, where: `device ${index}` });
      }
    }
    return { examined: { block_devices: devices.length, bytes_read: bytes }, findings };
  },
};

const isRoot = (path: string): boolean => (areaRoots as readonly string[]).includes(path);

/** The paths that the task names and the areas of its allocation; all tenants' areas when it has neither. */
async function areasOfTask(params: Params, context: TaskContext): Promise<Area[]> {
  const record = context.allocationId === null ? undefined : await context.records.read(context.allocationId);
  const own = context.allocationId === null ? [] : areasOf(context.allocationId, record?.username);
  const named = (params.paths ?? []).map((path): Area => ({ name: nameOf(path), path: plainPath(path) }));
  const areas = [...named.filter((area) => !own.some((known) => known.path === area.path)), ...own];
  return areas.length > 0 ? areas : areaRoots.map((path) => ({ name: nameOf(path), path }));
}

const nameOf = (path: string): Area['name'] => {
  if (isWithin(path, '/home')) return 'home';
  return isWithin(path, '/scratch') ? 'scratch' : 'storage';
};

/** A user or a process of the tenant that the other checks do not see. */
async function tenantRemains({ runtime, records, allocationId }: TaskContext): Promise<Finding[]> {
  const record = allocationId === null ? undefined : await records.read(allocationId);
  if (record === undefined) return [];
  const findings: Finding[] = [];
  const users = await runtime.identities.users();
  if (users.some((user) => user.uid === record.uid))
    findings.push({ kind: 'posix_user', where: 'etc/passwd', count: 1 });
  const alive = await runtime.processes.ofUser(record.uid);
  if (alive.length > 0) findings.push({ kind: 'process', where: 'proc', count: alive.length });
  return findings;
}
