/** P: the product's lifecycle as its users see it, over REST, with events for what the users wait for. */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { DeliverPolicy, type NatsConnection } from 'nats';
import { connectNats } from '../../activities/platform/nats.ts';
import { openTemporal } from '../../activities/platform/temporal.ts';
import { provisioningActive } from '../../contracts/allocations/allocation.events.ts';
import { allocationWorkflowId, asId } from '../../contracts/ids.ts';
import { streams } from '../../contracts/streams.ts';
import { devToken } from '../../workers/local/api-client.ts';
import { REALM } from '../../workers/local/issuer/realm.ts';
import type { Platform } from '../../workers/local/platform.ts';
import { benchSku } from './fleet.ts';

/** One lifecycle; every time in ms on the monotonic clock of this process. */
export interface Lifecycle {
  readonly workflowId: string;
  /** POST to 201, or to the answer of the start. */
  readonly createdMs: number;
  /** POST to the event that says active. */
  readonly activeMs: number;
  /** Release to its answer. */
  readonly releaseAnsweredMs: number;
  /** Release to the end of the run. */
  readonly releasedMs: number;
  /** First request to the end of the run. */
  readonly totalMs: number;
}

const activeDeadlineMs = 60_000;
/** For patient drivers: how long, and how often, a request is repeated. */
const answerDeadlineMs = 60_000;
const repeatAfterMs = 200;
/** Tokens live 300 s. */
const tokenAgeMs = 120_000;

/** A user of the realm, and what is known of them so far. */
export interface Tenant {
  readonly username: string;
  readonly password: string;
  projectId: string;
  token: string;
  tokenUntil: number;
}

/** Drives lifecycles through the API. */
export class ProductDriver {
  readonly #platform: Platform;
  readonly #temporal: Client;
  readonly #nats: NatsConnection;
  readonly #http = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #active = new Map<string, (() => void) | true>();
  readonly #tenants: Tenant[];
  readonly #patient: boolean;
  #turn = 0;

  private constructor(platform: Platform, nats: NatsConnection, patient: boolean) {
    this.#platform = platform;
    this.#patient = patient;
    this.#nats = nats;
    this.#temporal = openTemporal({
      address: platform.env['TEMPORAL_ADDRESS'] ?? '',
      namespace: platform.env['TEMPORAL_NAMESPACE'] ?? '',
    });
    this.#tenants = REALM.users
      .filter((user) => user.roles.includes('user') && user.orgId !== null)
      .map(({ username, password }) => ({ username, password, projectId: '', token: '', tokenUntil: 0 }));
  }

  /** With `patient`, a request that the plane could not answer is repeated under its key, as a good client does. */
  static async open(platform: Platform, options: { patient?: boolean } = {}): Promise<ProductDriver> {
    const nats = await connectNats({ url: platform.env['NATS_URL'] ?? '', name: 'bench' });
    const driver = new ProductDriver(platform, nats, options.patient ?? false);
    await driver.#follow();
    return driver;
  }

  get temporal(): Client {
    return this.#temporal;
  }

  get nats(): NatsConnection {
    return this.#nats;
  }

  /** A JetStream consumer tells what became active: it costs the API nothing. */
  async #follow(): Promise<void> {
    const consumer = await this.#nats.jetstream().consumers.get(streams[0].name, {
      filterSubjects: [provisioningActive.subject],
      deliver_policy: DeliverPolicy.New,
    });
    await consumer.consume({
      callback: (message) => {
        const { payload } = message.json<{ payload: { allocation_id: string } }>();
        const waiting = this.#active.get(payload.allocation_id);
        if (typeof waiting === 'function') waiting();
        else this.#active.set(payload.allocation_id, true);
      },
    });
  }

  async #untilActive(allocationId: string): Promise<void> {
    if (this.#active.get(allocationId) !== true) {
      await new Promise<void>((resolve, reject) => {
        const late = () => reject(new Error(`allocation ${allocationId} did not become active`));
        const timer = setTimeout(late, activeDeadlineMs);
        this.#active.set(allocationId, () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    this.#active.delete(allocationId);
  }

  /** The tenant whose turn it is, with a token that lives long enough. */
  async tenant(): Promise<Tenant> {
    const tenant = this.#tenants[this.#turn++ % this.#tenants.length];
    if (tenant === undefined) throw new Error('the realm has no user');
    await this.tokenOf(tenant);
    if (tenant.projectId === '') {
      const me = await this.call('GET', '/api/v1/auth/personal', tenant.token, undefined, 200);
      tenant.projectId = (me as { default_project: { id: string } }).default_project.id;
    }
    return tenant;
  }

  /** The tenant's token, a new one when it is about to end. */
  async tokenOf(tenant: Tenant): Promise<string> {
    if (performance.now() > tenant.tokenUntil) {
      tenant.token = await devToken(this.#platform.issuerUrl, tenant.username, tenant.password);
      tenant.tokenUntil = performance.now() + tokenAgeMs;
    }
    return tenant.token;
  }

  /**
   * One request.
   * @throws Error when the status is not the expected one.
   */
  async call(method: string, at: string, token: string, body: unknown, expected: number): Promise<unknown> {
    const key = randomUUID();
    const until = performance.now() + answerDeadlineMs;
    for (;;) {
      const answer = await this.#send(method, at, { token, key, body });
      if (answer.status === expected) return JSON.parse(answer.text);
      const undecided = answer.status === 0 || answer.status >= 500 || answer.status === 202;
      if (!this.#patient || !undecided || performance.now() > until) {
        throw new Error(`${method} ${at} answered ${answer.status}: ${answer.text.slice(0, 300)}`);
      }
      await delay(repeatAfterMs);
    }
  }

  /** The answer; status 0 when there was none. */
  #send(
    method: string,
    at: string,
    { token, key, body }: { token: string; key: string; body: unknown },
  ): Promise<{ status: number; text: string }> {
    const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers = {
      authorization: `Bearer ${token}`,
      ...(method === 'GET' ? {} : { 'x-idempotency-key': key }),
      ...(bytes === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': bytes.byteLength }),
    };
    return new Promise((resolve) => {
      const url = new URL(at, this.#platform.apiUrl);
      const none = (error: Error): void => resolve({ status: 0, text: error.message });
      const outgoing = request(url, { method, headers, agent: this.#http }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', none);
        incoming.on('end', () => {
          resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') });
        });
      });
      outgoing.on('error', none);
      outgoing.end(bytes);
    });
  }

  /** Creates and waits until active. */
  async create(): Promise<{
    id: string;
    tenant: Tenant;
    begun: number;
    createdMs: number;
    activeMs: number;
  }> {
    const tenant = await this.tenant();
    const begun = performance.now();
    const body = { project_id: tenant.projectId, sku: benchSku };
    const created = await this.call('POST', '/api/v1/allocations', tenant.token, body, 201);
    const createdMs = performance.now() - begun;
    const { id } = created as { id: string };
    await this.#untilActive(id);
    return { id, tenant, begun, createdMs, activeMs: performance.now() - begun };
  }

  /** Releases and waits until the run has ended. */
  async release(id: string, tenant: Tenant): Promise<{ releaseAnsweredMs: number; releasedMs: number }> {
    const asked = performance.now();
    await this.call('POST', `/api/v1/allocations/${id}/release`, tenant.token, {}, 202);
    const releaseAnsweredMs = performance.now() - asked;
    const result: unknown = await this.#temporal.workflow.getHandle(allocationWorkflowId(asId(id))).result();
    if (result !== 'released') throw new Error(`allocation ${id} ended as ${String(result)}`);
    return { releaseAnsweredMs, releasedMs: performance.now() - asked };
  }

  /** Create, active, release, released. */
  async lifecycle(): Promise<Lifecycle> {
    const { id, tenant, begun, createdMs, activeMs } = await this.create();
    const released = await this.release(id, tenant);
    const workflowId = allocationWorkflowId(asId(id));
    return { workflowId, createdMs, activeMs, ...released, totalMs: performance.now() - begun };
  }

  async close(): Promise<void> {
    this.#http.destroy();
    await this.#nats.close();
    await this.#temporal.connection.close();
  }
}
