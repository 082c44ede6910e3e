/** Many simulated nodes in one process, from a file of registered nodes: `[{"node_id": "…", "agent_secret": "…"}]`. */
import { readFileSync } from 'node:fs';
import { isUuid } from '../../../contracts/ids.ts';
import { required, wholeNumber } from '../../node-agent/config.ts';
import { createLogger } from '../../node-agent/log.ts';
import { startAgents, type FleetNode } from './fleet.ts';

/** @throws Error that tells none of the file's content. */
function readNodes(file: string): FleetNode[] {
  const list: unknown = JSON.parse(readFileSync(file, 'utf8'));
  if (!Array.isArray(list)) throw new Error('FLEET_NODES_FILE must hold a JSON list');
  return list.map((entry: unknown, index) => {
    const fields = new Map(Object.entries(typeof entry === 'object' && entry !== null ? entry : {}));
    const nodeId: unknown = fields.get('node_id');
    const secret: unknown = fields.get('agent_secret');
    if (!isUuid(nodeId) || typeof secret !== 'string')
      throw new Error(`FLEET_NODES_FILE: entry ${index} is no node`);
    return { nodeId, secret };
  });
}

const log = createLogger({ part: 'fleet' });

async function main(env: NodeJS.ProcessEnv): Promise<void> {
  const fleet = await startAgents({
    nodes: readNodes(required(env, 'FLEET_NODES_FILE')),
    count: wholeNumber(env, 'FLEET_COUNT', 1, 100_000),
    apiUrl: required(env, 'AGENT_API_URL').replace(/\/+$/, ''),
    caFile: required(env, 'AGENT_CA_FILE'),
    verifyKeyFile: required(env, 'AGENT_VERIFY_KEY_FILE'),
    rootDirectory: required(env, 'FLEET_ROOT'),
    gpuCount: wholeNumber(env, 'AGENT_GPU_COUNT', 0, 64),
    holdSeconds: wholeNumber(env, 'AGENT_HOLD_SECONDS', 0, 30),
    log: (nodeId) => createLogger({ node_id: nodeId }),
  });
  log.info('fleet_started', { agents: fleet.agents.length });
  const end = (): void => void fleet.stop().then(() => process.exit(0));
  process.once('SIGTERM', end).once('SIGINT', end);
}

try {
  await main(process.env);
} catch (error) {
  log.error('fleet_failed', { error: error instanceof Error ? error.message : 'unknown' });
  process.exitCode = 1;
}
