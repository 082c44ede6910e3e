import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IssuerHandle } from '../../workers/local/issuer/handle.ts';
import { keycloakUnavailable } from '../../workers/local/issuer/keycloak-install.ts';
import { startKeycloak } from '../../workers/local/issuer/keycloak.ts';
import { DEV_ORG_ID, OTHER_ORG_ID } from '../../workers/local/issuer/realm.ts';
import { reserveFreePort, type ReservedPort } from '../../workers/local/ports.ts';
import { itBehavesAsAnIssuer } from './shared-behaviour.ts';
import { passwordGrant, refreshGrant, textOf, USERS, verified } from './tokens.ts';

const START_TIMEOUT_MS = 600_000;
const unavailable = await keycloakUnavailable();

describe.skipIf(unavailable !== undefined)(`Keycloak (${unavailable ?? 'installed'})`, () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'gpuaas-keycloak-'));
  let keycloak: IssuerHandle;
  let reserved: ReservedPort;
  let port: number;

  beforeAll(async () => {
    reserved = await reserveFreePort('keycloak test');
    port = reserved.port;
    keycloak = await startKeycloak({ port, stateDir });
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await keycloak?.stop();
    reserved?.release();
    rmSync(stateDir, { recursive: true, force: true });
  }, START_TIMEOUT_MS);

  itBehavesAsAnIssuer(() => keycloak.issuerUrl);

  it('does not let a user move to another organisation', async () => {
    const url = keycloak.issuerUrl;
    const grant = await passwordGrant(url, 'peer-user', 'peer123', { scope: 'openid' });
    const change = await fetch(`${url}/account/`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${textOf(grant, 'access_token')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ username: 'peer-user', attributes: { org_id: [OTHER_ORG_ID] } }),
    });
    expect([401, 403]).toContain(change.status);
    const after = await passwordGrant(url, 'peer-user', 'peer123');
    expect((await verified(url, textOf(after, 'access_token')))['org_id']).toBe(DEV_ORG_ID);
  });

  it(
    'keeps access and refresh tokens good over a kill',
    async () => {
      const grant = await passwordGrant(keycloak.issuerUrl, 'dev-user', 'dev123');
      await keycloak.kill();
      keycloak = await startKeycloak({ port, stateDir });
      const { sub } = await verified(keycloak.issuerUrl, textOf(grant, 'access_token'));
      expect(sub).toBe(USERS[0].sub);
      expect((await refreshGrant(keycloak.issuerUrl, textOf(grant, 'refresh_token'))).status).toBe(200);
    },
    START_TIMEOUT_MS,
  );
});
