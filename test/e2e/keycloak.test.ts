import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiClient, dataOf, devToken, newKey, type ApiClient } from '../../workers/local/api-client.ts';
import { keycloakUnavailable } from '../../workers/local/issuer/keycloak-install.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';
import { startPlatform, type Platform } from '../../workers/local/platform.ts';
import { waitUntil } from '../../workers/local/process.ts';

const startTimeoutMs = 600_000;
const testTimeoutMs = 120_000;
const stateDeadlineMs = 60_000;
const sku = 'l40s-4x';
const unavailable = await keycloakUnavailable();

describe.skipIf(unavailable !== undefined)(
  `the product behind Keycloak (${unavailable ?? 'installed'})`,
  () => {
    let platform: Platform;
    let user: ApiClient;
    let admin: ApiClient;
    let other: ApiClient;

    const login = async (username: (typeof REALM.users)[number]['username']): Promise<ApiClient> => {
      const password = REALM.users.find((one) => one.username === username)?.password ?? '';
      return apiClient(platform.apiUrl, await devToken(platform.issuerUrl, username, password));
    };

    beforeAll(async () => {
      platform = await startPlatform({
        name: 'keycloak',
        ports: 'free',
        ephemeral: true,
        testSettings: true,
        issuer: 'keycloak',
      });
      user = await login('dev-user');
      admin = await login('dev-admin');
      other = await login('other-user');
      const registered = await admin.POST('/api/v1/admin/nodes', {
        params: { header: newKey() },
        body: { name: 'keycloak-1', sku, ssh_host: '127.0.0.1', ssh_port: 2222 },
      });
      const { id, agent_secret: secret } = dataOf('registering the node', registered);
      await platform.startAgent({ id, secret, gpuCount: 4 });
      await waitUntil(
        async () => {
          const seen = await admin.GET('/api/v1/admin/nodes/{node_id}', {
            params: { path: { node_id: id } },
          });
          return dataOf('reading the node', seen).state === 'available';
        },
        { deadlineMs: stateDeadlineMs, onTimeout: () => 'the node is not available' },
      );
    }, startTimeoutMs);

    afterAll(async () => {
      await platform?.stop();
    }, testTimeoutMs);

    const one = (id: string) => ({ path: { allocation_id: id } });

    const reaches = async (id: string, wanted: string): Promise<void> => {
      let state = '';
      await waitUntil(
        async () => {
          const seen = await user.GET('/api/v1/allocations/{allocation_id}', { params: one(id) });
          state = dataOf('reading the allocation', seen).state;
          return state === wanted;
        },
        { deadlineMs: stateDeadlineMs, onTimeout: () => `the allocation is ${state}, not ${wanted}` },
      );
    };

    const allocate = async (): Promise<string> => {
      const me = dataOf('reading the identity', await user.GET('/api/v1/auth/personal'));
      const body = { project_id: me.default_project.id, sku, scheduler_type: 'bare_metal' } as const;
      const created = await user.POST('/api/v1/allocations', { params: { header: newKey() }, body });
      const { id } = dataOf('allocating', created);
      await reaches(id, 'active');
      return id;
    };

    it(
      'knows its users as Keycloak has them',
      async () => {
        const me = dataOf('reading the identity', await user.GET('/api/v1/auth/personal'));
        const known = REALM.users.find(({ username }) => username === 'dev-user');
        expect(me).toMatchObject({ user_id: known?.sub, org_id: known?.orgId, roles: ['user'] });
        const anonymous = await apiClient(platform.apiUrl, 'nobody').GET('/api/v1/auth/personal');
        expect(anonymous.response.status).toBe(401);
        expect((await user.GET('/api/v1/admin/nodes')).response.status).toBe(403);
      },
      testTimeoutMs,
    );

    it(
      'takes an allocation of a user to active and releases it',
      async () => {
        const id = await allocate();
        const header = newKey();
        const release = await user.POST('/api/v1/allocations/{allocation_id}/release', {
          params: { ...one(id), header },
          body: {},
        });
        expect(release.response.status).toBe(202);
        await reaches(id, 'released');
      },
      testTimeoutMs,
    );

    it(
      'hides it from another organisation, and lets an admin force its release',
      async () => {
        const id = await allocate();
        const read = await other.GET('/api/v1/allocations/{allocation_id}', { params: one(id) });
        expect([read.response.status, read.error?.code]).toEqual([404, 'allocation_not_found']);
        const release = { params: { ...one(id), header: newKey() }, body: {} };
        const taken = await other.POST('/api/v1/allocations/{allocation_id}/release', release);
        expect([taken.response.status, taken.error?.code]).toEqual([404, 'allocation_not_found']);

        const force = { params: { ...one(id), header: newKey() }, body: { reason: 'maintenance' } };
        const refused = await user.POST('/api/v1/admin/allocations/{allocation_id}/force-release', force);
        expect([refused.response.status, refused.error?.code]).toEqual([403, 'admin_required']);
        const forced = await admin.POST('/api/v1/admin/allocations/{allocation_id}/force-release', force);
        expect(forced.response.status).toBe(202);
        await reaches(id, 'released');
        const query = { action: 'allocation.force_release', target_id: id };
        const audit = await admin.GET('/api/v1/admin/audit-logs', { params: { query } });
        const results = dataOf('reading the audit log', audit).items.map(({ result }) => result);
        expect(results).toEqual(['succeeded', 'refused']);
      },
      testTimeoutMs,
    );
  },
);
