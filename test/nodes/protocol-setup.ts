import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { NodeAgent } from '../../workers/node-agent/agent.ts';
import { readAgentConfig } from '../../workers/node-agent/config.ts';
import { createAgent } from '../../workers/node-agent/create.ts';
import { createLogger } from '../../workers/node-agent/log.ts';
import type { FaultBehaviour } from '../../workers/node-agent/runtime/simulated/faults.ts';
import { agentEnvironment, newTenant, startAgentProcess, type AgentProcess } from './agent-process.ts';
import { ControlPlane, until, type PlanTask } from './control-plane.ts';

export let plane: ControlPlane;
export let root: string;
export let log: string[];
export const agents: NodeAgent[] = [];
export const processes: AgentProcess[] = [];

beforeEach(async () => {
  plane = await ControlPlane.start();
  root = path.join(plane.directory, 'node');
  log = [];
});

afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.stop()));
  await Promise.all(processes.splice(0).map((agent) => agent.end('SIGKILL')));
  await plane.close();
});

export async function startAgent(env: Record<string, string> = {}): Promise<NodeAgent> {
  const config = readAgentConfig({ ...agentEnvironment(plane, root), ...env });
  const agent = createAgent(
    config,
    createLogger({}, (line) => log.push(line)),
  );
  agents.push(agent);
  await agent.start();
  return agent;
}

export function startProcess(): AgentProcess {
  const agent = startAgentProcess(agentEnvironment(plane, root));
  processes.push(agent);
  return agent;
}

export const prepare = (changes = {}, options = {}): PlanTask => {
  const tenant = newTenant(changes);
  return plane.queue('node.allocation_prepare', tenant, options);
};
export const done = (task: PlanTask): Promise<void> =>
  until(`task ${task.fence} done`, () => task.state === 'done');
export const outcomeOf = (task: PlanTask): string | undefined => task.reports.at(-1)?.outcome;
export const allocationOf = (task: PlanTask): string => task.task?.allocation_id ?? '';
export const users = (): string => readFileSync(path.join(root, 'etc/passwd'), 'utf8');
export const setFault = (kind: string, behaviour: FaultBehaviour, more: object = {}): void =>
  writeFileSync(path.join(root, 'faults.json'), JSON.stringify([{ kind, times: 1, behaviour, ...more }]));
