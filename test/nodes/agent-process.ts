/** A real agent process for tests, and the tenants that its tasks are about. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { NodeTask } from '../../contracts/nodes/node-task.api.ts';
import type { ControlPlane } from './control-plane.ts';

export const agentMain = fileURLToPath(new URL('../../workers/node-agent/main.ts', import.meta.url));
const repository = fileURLToPath(new URL('../..', import.meta.url));

/** Environment of an agent of the plane's node. */
export const agentEnvironment = (plane: ControlPlane, root: string): Record<string, string> => ({
  PATH: process.env['PATH'] ?? '',
  AGENT_NODE_ID: plane.nodeId,
  AGENT_SECRET_FILE: plane.secretFile,
  AGENT_API_URL: plane.url,
  AGENT_CA_FILE: plane.pki.INTERNAL_TLS_CA_FILE,
  AGENT_VERIFY_KEY_FILE: plane.pki.TASK_VERIFY_KEY_FILE,
  AGENT_ROOT: root,
  AGENT_GPU_COUNT: '2',
});

export interface AgentProcess {
  readonly child: ChildProcess;
  /** Log lines so far. */
  readonly lines: string[];
  /** Ends the process and waits for its end. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export function startAgentProcess(
  env: Readonly<Record<string, string>>,
  command: readonly string[] = [],
): AgentProcess {
  const [program, ...args] = [...command, process.execPath, '--import', 'tsx', agentMain];
  const child = spawn(program ?? process.execPath, args, {
    env,
    cwd: repository,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines: string[] = [];
  let rest = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
  });
  return {
    child,
    lines,
    async end(signal) {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        child.kill(signal);
        await exited;
      }
      return { code: child.exitCode, signal: child.signalCode };
    },
  };
}

type PrepareParams = Extract<NodeTask, { kind: 'node.allocation_prepare' }>['params'];

export const publicKey = `ssh-ed25519 ${'A'.repeat(68)}`;

let tenants = 0;

/** Parameters of a new tenant's allocation. */
export function newTenant(changes: Partial<PrepareParams> = {}): PrepareParams {
  tenants += 1;
  return {
    allocation_id: randomUUID(),
    user_id: randomUUID(),
    username: `tenant${tenants}`,
    uid: 12_000 + tenants,
    gid: 12_000 + tenants,
    authorized_keys: [publicKey],
    gpu_slots: [0, 1],
    reason: 'test',
    ...changes,
  };
}
