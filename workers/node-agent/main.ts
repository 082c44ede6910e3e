import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { readAgentConfig } from './config.ts';
import { createAgent } from './create.ts';

/** A process that has not ended by itself by then is ended: what counts is in the journal. */
const EXIT_DEADLINE_MS = 4500;

/** Two agents on one journal would undo each other's work. The name is free again when the process dies, however. */
function claim(stateDirectory: string): Promise<void> {
  const name = createHash('sha256').update(stateDirectory).digest('hex');
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', () => reject(new Error('another agent runs in the same state folder')));
    server.listen(`\0gpuaas-node-agent-${name}`, resolve).unref();
  });
}

async function main(): Promise<void> {
  const config = readAgentConfig(process.env);
  await claim(config.stateDirectory);
  const agent = createAgent(config);
  const end = (): void => {
    setTimeout(() => process.exit(0), EXIT_DEADLINE_MS).unref();
    void agent.stop().then(() => process.exit(0));
  };
  process.once('SIGTERM', end).once('SIGINT', end);
  await agent.start();
}

try {
  await main();
} catch (error) {
  process.stderr.write(
    `${JSON.stringify({ level: 'error', event: 'agent_failed', error: String(error) })}\n`,
  );
  process.exitCode = 1;
}
