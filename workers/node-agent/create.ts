import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { NodeAgent } from './agent.ts';
import { readSecretFile, type AgentConfig } from './config.ts';
import { createLogger, type Logger } from './log.ts';
import { TaskClient } from './protocol/client.ts';
import { openRealNode } from './runtime/real/real.ts';
import { createFaultFile } from './runtime/simulated/faults.ts';
import { openSimulatedNode } from './runtime/simulated/simulated.ts';
import { TaskTraces } from './traces.ts';

/** Connections to the API: kept alive, as many at a time as there are calls. */
export const createConnections = (): Agent => new Agent({ keepAlive: true, maxCachedSessions: 16 });

/** The agent of a node as configured; not started. */
export function createAgent(
  config: AgentConfig,
  log: Logger = createLogger({ node_id: config.nodeId }),
): NodeAgent {
  const simulated = config.mode === 'simulated';
  const runtime = simulated
    ? openSimulatedNode({ root: config.root, gpuCount: config.gpuCount ?? 0 })
    : openRealNode({ gpuCount: config.gpuCount, wipeableDevices: config.wipeableDevices });
  const client = new TaskClient({
    nodeId: config.nodeId,
    apiUrl: config.apiUrl,
    ca: readFileSync(config.caFile, 'utf8'),
    readSecret: () => readSecretFile(config.secretFile),
    connections: createConnections(),
  });
  return new NodeAgent({
    nodeId: config.nodeId,
    client,
    verifyKey: createPublicKey(readFileSync(config.verifyKeyFile)),
    runtime,
    stateDirectory: config.stateDirectory,
    holdSeconds: config.holdSeconds,
    log,
    traces: new TaskTraces(config.traceUrl, config.nodeId),
    faults: simulated ? createFaultFile(config.root) : undefined,
  });
}
