import { permanent } from '../failure.ts';
import { homeOf } from '../runtime/areas.ts';
import type { Gpu, NodeRuntime } from '../runtime/runtime.ts';
import { removeTree } from '../runtime/trees.ts';
import { writeHome } from './home.ts';
import type { ParamsOf, ResultOf, TaskContext, TaskHandler } from './task.ts';

type Params = ParamsOf<'node.allocation_prepare'>;

/** One OpenSSH public key on one line, without options in front. */
const keyLine = /^[a-z][a-z0-9@.-]{2,63} [A-Za-z0-9+/]+={0,3}( [^\p{Cc}]*)?$/u;

/** Gives a tenant access: group, user, home and exactly the given keys. */
export const allocationPrepare: TaskHandler<'node.allocation_prepare'> = async (
  params,
  context,
): Promise<ResultOf<'node.allocation_prepare'>> => {
  const { runtime, records, signal } = context;
  if (!params.authorized_keys.every((key) => keyLine.test(key))) {
    throw permanent('authorized_key_invalid', 'a public key is not one line of the OpenSSH format');
  }
  const gpus = await gpusOf(runtime, params.gpu_slots);
  const present = await checkIdentity(runtime, params);
  // Written first: whatever a crash leaves behind from here on, the cleanup knows whose it is.
  const { allocation_id, username, uid, gid, gpu_slots } = params;
  await records.write({ allocation_id, username, uid, gpu_slots });
  try {
    if (!present.group) await runtime.identities.addGroup({ name: username, gid });
    signal.throwIfAborted();
    if (!present.user) await runtime.identities.addUser({ username, uid, gid, home: homeOf(username) });
    signal.throwIfAborted();
    await writeHome(runtime, { username, uid, gid }, params.authorized_keys);
    await runtime.gpus.assign(gpus, allocation_id);
    signal.throwIfAborted();
  } catch (error) {
    if (signal.aborted && !present.user) await undo(params, context);
    throw error;
  }
  return {
    task_type: 'node.allocation_prepare',
    allocation_id,
    username,
    uid,
    gid,
    authorized_key_count: params.authorized_keys.length,
  };
};

async function gpusOf(runtime: NodeRuntime, slots: readonly number[]): Promise<Gpu[]> {
  if (slots.length === 0) return [];
  const known = new Map((await runtime.gpus.list()).map((gpu) => [gpu.slot, gpu]));
  // A node without a GPU has slots all the same: what is rented is the machine.
  if (known.size === 0) return [];
  return slots.map((slot) => {
    const gpu = known.get(slot);
    if (gpu === undefined) throw permanent('gpu_slot_unknown', `the node has no GPU slot ${slot}`);
    return gpu;
  });
}

/** Says what of the identity is there already, and refuses to share a name or a number with anybody else. */
async function checkIdentity(
  runtime: NodeRuntime,
  params: Params,
): Promise<{ user: boolean; group: boolean }> {
  const [users, groups] = await Promise.all([runtime.identities.users(), runtime.identities.groups()]);
  const { username, uid, gid } = params;
  const user = users.find((entry) => entry.username === username);
  const group = groups.find((entry) => entry.name === username);
  const conflict =
    (user !== undefined && (user.uid !== uid || user.gid !== gid || user.home !== homeOf(username))) ||
    (group !== undefined && group.gid !== gid) ||
    users.some((entry) => entry.uid === uid && entry.username !== username) ||
    groups.some((entry) => entry.gid === gid && entry.name !== username);
  if (conflict)
    throw permanent('posix_identity_conflict', 'the name or the number of the user is taken on the node');
  return { user: user !== undefined, group: group !== undefined };
}

/** Takes back a user that nobody has used yet. */
async function undo(params: Params, { runtime }: TaskContext): Promise<void> {
  await removeTree(runtime.hostPath(homeOf(params.username)), new AbortController().signal);
  await runtime.identities.removeUser(params.username);
  await runtime.identities.removeGroup(params.username);
}
