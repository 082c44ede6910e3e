/** `npm start`: keeps the product up for a person, with two simulated nodes, until Ctrl-C. */
import { once } from 'node:events';
import { apiClient, dataOf, devToken, type ApiClient } from './api-client.ts';
import { startPlatform, type Platform } from './platform.ts';
import { runInteractive } from './run.ts';

const flags = new Set(process.argv.slice(2));
const nodes = [
  { name: 'node-1', sku: 'h100-8x', gpus: 8 },
  { name: 'node-2', sku: 'l40s-4x', gpus: 4 },
];

await runInteractive('start', async ({ signal, log, onStop }) => {
  const platform = await startPlatform({
    name: 'dev',
    ports: 'configured',
    wipe: flags.has('--wipe'),
    issuer: flags.has('--keycloak') ? 'keycloak' : 'embedded',
    log,
    onServiceExit: (service, message) => {
      log(message);
      if (signal.aborted) return;
      service.start().then(
        () => log(`${service.name} runs again`),
        (error: unknown) => log(error instanceof Error ? error.message : `${service.name} does not start`),
      );
    },
  });
  onStop(() => platform.stop());
  const admin = apiClient(platform.apiUrl, await devToken(platform.issuerUrl, 'dev-admin', 'admin123'));
  for (const node of nodes) await joinNode(platform, admin, node);
  log(greeting(platform));
  // The servers are children that do not keep this process alive.
  const alive = setInterval(() => undefined, 60_000);
  if (!signal.aborted) await once(signal, 'abort');
  clearInterval(alive);
});

async function joinNode(platform: Platform, admin: ApiClient, wanted: (typeof nodes)[number]): Promise<void> {
  const header = { 'X-Idempotency-Key': `start-${wanted.name}` };
  const registered = dataOf(
    `registering ${wanted.name}`,
    await admin.POST('/api/v1/admin/nodes', {
      // The same key finds the node of an earlier start again, with its secret.
      params: { header },
      body: { name: wanted.name, sku: wanted.sku, ssh_host: '127.0.0.1', ssh_port: 22 },
    }),
  );
  await platform.startAgent({ id: registered.id, secret: registered.agent_secret, gpuCount: wanted.gpus });
}

function greeting(platform: Platform): string {
  return `
GPUaaS is up.

  API             ${platform.apiUrl}/api/v1
  API reference   ${platform.apiUrl}/docs
  Temporal UI     ${platform.temporalUiUrl}
  Issuer          ${platform.issuerUrl}
  Users           dev-user / dev123 (user), dev-admin / admin123 (user, admin)

A token:
  curl -s -X POST ${platform.issuerUrl}/protocol/openid-connect/token \\
    -d 'grant_type=password&client_id=gpuaas-api&client_secret=dev-client-secret&username=dev-user&password=dev123'

Data: ${platform.stack.stateDir} (npm start -- --wipe begins anew). Ctrl-C ends it.
`;
}
