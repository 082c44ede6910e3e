import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { NodeAgent } from '../../node-agent/agent.ts';
import { createConnections } from '../../node-agent/create.ts';
import { createLogger, type Logger } from '../../node-agent/log.ts';
import { TaskClient } from '../../node-agent/protocol/client.ts';
import { createFaultFile } from '../../node-agent/runtime/simulated/faults.ts';
import { openSimulatedNode } from '../../node-agent/runtime/simulated/simulated.ts';

/** A registered node and the secret of its agent. */
export interface FleetNode {
  readonly nodeId: string;
  readonly secret: string;
}

export interface FleetOptions {
  readonly nodes: readonly FleetNode[];
  /** How many of the nodes to run, the first ones; all of them unless told. */
  readonly count?: number | undefined;
  readonly apiUrl: string;
  readonly caFile: string;
  readonly verifyKeyFile: string;
  /** Folder that holds one root folder per node, named by its id. */
  readonly rootDirectory: string;
  /** GPUs of each node; 8 unless told. */
  readonly gpuCount?: number | undefined;
  /** How long the API may hold a poll; 25 s unless told. */
  readonly holdSeconds?: number | undefined;
  /** Silent unless told. */
  readonly log?: ((nodeId: string) => Logger) | undefined;
}

export interface Fleet {
  /** In the order of the nodes. */
  readonly agents: readonly NodeAgent[];
  /** Root folder of a node's simulated hardware. */
  rootOf(nodeId: string): string;
  /** Stops every agent; within five seconds. */
  stop(): Promise<void>;
}

const silent = (nodeId: string): Logger => createLogger({ node_id: nodeId }, () => undefined);
/** Nodes that are furnished at the same time. */
const STARTING = 32;

/**
 * Runs many simulated nodes in this process: the agents are the product's own, only their hardware is files.
 * @throws Error when there are fewer nodes than `count`.
 */
export async function startAgents(options: FleetOptions): Promise<Fleet> {
  const { nodes, count = nodes.length, gpuCount = 8, holdSeconds = 25, log = silent } = options;
  if (count > nodes.length) throw new Error(`the fleet has ${nodes.length} nodes, not ${count}`);
  const ca = readFileSync(options.caFile, 'utf8');
  const verifyKey = createPublicKey(readFileSync(options.verifyKeyFile));
  const connections = createConnections();
  const rootOf = (nodeId: string): string => path.join(options.rootDirectory, nodeId);

  const startOne = async ({ nodeId, secret }: FleetNode): Promise<NodeAgent> => {
    const root = rootOf(nodeId);
    const { apiUrl } = options;
    const agent = new NodeAgent({
      nodeId,
      client: new TaskClient({ nodeId, apiUrl, ca, readSecret: () => secret, connections }),
      verifyKey,
      runtime: openSimulatedNode({ root, gpuCount }),
      stateDirectory: path.join(root, 'var/lib/gpuaas-node-agent'),
      holdSeconds,
      log: log(nodeId),
      faults: createFaultFile(root),
    });
    await agent.start();
    return agent;
  };

  const agents: NodeAgent[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(agents.map((agent) => agent.stop()));
    connections.destroy();
  };
  try {
    for (let first = 0; first < count; first += STARTING) {
      const batch = nodes.slice(first, Math.min(first + STARTING, count));
      const started = await Promise.allSettled(batch.map(startOne));
      for (const result of started) if (result.status === 'fulfilled') agents.push(result.value);
      const failed = started.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { agents, rootOf, stop };
}
