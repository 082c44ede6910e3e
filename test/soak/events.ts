/**
 * A long outage of NATS under load: events pile up in the outbox for longer than JetStream remembers a message id, relays
 * and consumers are killed and paused meanwhile and while the backlog drains. At the end every event is in its stream once,
 * in the order of its aggregate, and every effect happened once.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { provisioningFailed } from '../../contracts/allocations/allocation.events.ts';
import { attachmentMounted } from '../../contracts/storage/storage-attachment.events.ts';
import { openDatabase, type Database } from '../../db/client.ts';
import { readNow } from '../../db/clock.ts';
import { publish } from '../../db/outbox.ts';
import { startPlatform, type Platform } from '../../workers/local/platform.ts';
import { waitUntil } from '../../workers/local/process.ts';
import type { RunContext } from '../../workers/local/run.ts';
import { connectNats } from '../../activities/platform/nats.ts';
import { auditEvents, type AuditFinding, type CommittedEvent } from '../harness/event-auditor.ts';
import type { SoakResult } from './result.ts';

export interface EventSoakOptions {
  readonly events: number;
  readonly outageMinutes: number;
  /** Seconds between two disturbances. */
  readonly disturbEverySeconds: number;
  readonly seed: number;
}

const writers = 4;
const versionsMax = 20;
const warmEvents = 500;
const pauseMs = 8000;
const drainDeadlineMs = 30 * 60_000;

/** mulberry32: small, seeded, the same on every machine. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Committed extends CommittedEvent {
  readonly stream: 'PROVISIONING' | 'STORAGE';
}

/** Commits the whole life of one aggregate, a transaction for each version. */
async function writeAggregate(db: Database, versions: number, storage: boolean): Promise<Committed[]> {
  const aggregateId = randomUUID();
  const owner = randomUUID();
  const written: Committed[] = [];
  for (let seq = 1; seq <= versions; seq += 1) {
    const eventId = await db.tx(async (tx) => {
      const base = {
        idempotencyKey: [aggregateId, String(seq)],
        aggregateId,
        aggregateSeq: seq,
        correlationId: 'soak',
        occurredAt: await readNow(tx),
      };
      if (!storage) {
        const payload = { allocation_id: aggregateId, user_id: owner, reason: `soak ${seq}` };
        return publish(tx, provisioningFailed, { ...base, payload });
      }
      return publish(tx, attachmentMounted, {
        ...base,
        payload: {
          attachment_id: aggregateId,
          bucket_id: 'soak',
          project_id: owner,
          provider_backend: 'local_dev',
          mount_path: '/mnt/soak',
          access_mode: 'read_write',
          write_policy: 'single_writer',
          state: 'mounted',
        },
      });
    });
    const stream = storage ? 'STORAGE' : 'PROVISIONING';
    written.push({ eventId, aggregateId, aggregateSeq: seq, position: 0, stream });
  }
  return written;
}

async function writeEvents(db: Database, count: number, random: () => number): Promise<Committed[]> {
  const all: Committed[] = [];
  let left = count;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      const versions = Math.min(left, 1 + Math.floor(random() * versionsMax));
      left -= versions;
      all.push(...(await writeAggregate(db, versions, random() < 0.5)));
    }
  };
  await Promise.all(Array.from({ length: writers }, lane));
  return all;
}

/** Kills, or stops for longer than a lease lasts, a relay or the consumers, until told to end. */
async function disturb(
  platform: Platform,
  random: () => number,
  everySeconds: number,
  ending: AbortSignal,
  log: RunContext['log'],
): Promise<Record<string, number>> {
  const done: Record<string, number> = {};
  const rest = (ms: number): Promise<boolean> => delay(ms, true, { signal: ending }).catch(() => false);
  while (await rest(everySeconds * 1000 * (0.5 + random()))) {
    const name = random() < 0.5 ? 'relay' : 'consumers';
    const paused = random() < 0.3;
    const service = platform.services[name];
    if (paused) {
      service.signal('SIGSTOP');
      await rest(pauseMs);
      service.signal('SIGCONT');
    } else {
      await service.kill();
      // Without NATS a process is not ready before NATS is back: it is started, and waited for by the end.
      await service.launch();
    }
    const what = `${name} ${paused ? 'paused' : 'killed'}`;
    done[what] = (done[what] ?? 0) + 1;
    log(what);
  }
  return done;
}

interface Backlog {
  readonly unpublished: number;
  readonly logged: number;
  readonly told: number;
  readonly dead: number;
}

async function backlogOf(db: Database): Promise<Backlog> {
  const read = await db.q.execute<Record<keyof Backlog, string>>(sql`
    select (select count(*) from outbox where published_at is null) as unpublished,
      (select count(*) from event_log) as logged, (select count(*) from notifications) as told,
      (select count(*) from dead_letters) as dead`);
  const { unpublished, logged, told, dead } = read.rows[0] ?? {};
  return {
    unpublished: Number(unpublished),
    logged: Number(logged),
    told: Number(told),
    dead: Number(dead),
  };
}

const isTold = ({ stream }: Committed): boolean => stream === 'PROVISIONING';

/** Everything is published and has had its effects, or went to the DLQ, which the audit tells. */
const drained = (db: Database, committed: readonly Committed[]): Promise<void> => {
  const owed = committed.length + committed.filter(isTold).length;
  let last: Backlog | undefined;
  return waitUntil(
    async () => {
      last = await backlogOf(db);
      return last.unpublished === 0 && last.logged + last.told + last.dead >= owed;
    },
    { deadlineMs: drainDeadlineMs, pollMs: 500, onTimeout: () => `not drained: ${JSON.stringify(last)}` },
  );
};

/** Everything that the run promised, each by a look of its own at Postgres and JetStream. */
async function audit(platform: Platform, db: Database, committed: readonly Committed[]): Promise<string[]> {
  const findings: string[] = [];
  const say = (stream: string) => (finding: AuditFinding) =>
    findings.push(`${stream}: ${finding.kind} ${finding.eventId} ${finding.detail}`);
  const nc = await connectNats({ url: platform.env['NATS_URL'] ?? '', name: 'soak' });
  try {
    const jsm = await nc.jetstreamManager();
    for (const stream of ['PROVISIONING', 'STORAGE'] as const) {
      const wanted = committed.filter((event) => event.stream === stream);
      const rows = await db.q.execute<{ event_id: string; stream_seq: string }>(
        sql`select event_id, stream_seq from event_log where stream = ${stream}`,
      );
      const stored = rows.rows.map((row) => ({ seq: Number(row.stream_seq), eventId: row.event_id }));
      auditEvents(wanted, stored).forEach(say(stream));
      const { state } = await jsm.streams.info(stream);
      if (state.messages !== wanted.length) {
        findings.push(`${stream} holds ${state.messages} messages for ${wanted.length} events`);
      }
    }
  } finally {
    await nc.close();
  }
  const told = committed.filter(isTold).length;
  const effects = await db.q.execute<{ told: string; distinct: string; gaps: string; dead: string }>(sql`
    select count(*) as told, count(distinct event_id) as distinct,
      (select count(*) from notification_cursors c
        where c.last_seq <> (select count(*) from notifications n where n.recipient = c.recipient)) as gaps,
      (select count(*) from dead_letters) as dead
    from notifications where subject = ${provisioningFailed.subject}`);
  const row = effects.rows[0];
  if (Number(row?.told) !== told || Number(row?.distinct) !== told) {
    findings.push(`${row?.told} notifications of ${row?.distinct} events for ${told} events`);
  }
  if (Number(row?.gaps) !== 0) findings.push(`${row?.gaps} recipients have gaps in their numbers`);
  if (Number(row?.dead) !== 0) findings.push(`${row?.dead} dead letters`);
  return findings;
}

/** @returns the report; it is a failure when `broken` says why. */
export async function soakEvents(
  { log, signal, onStop }: RunContext,
  options: EventSoakOptions,
): Promise<SoakResult> {
  log(`seed ${options.seed}`);
  const random = randomOf(options.seed);
  const platform = await startPlatform({ name: 'soak-events', ports: 'free', wipe: true, log });
  onStop(() => platform.stop());
  const db = openDatabase({
    url: platform.env['DATABASE_URL'] ?? '',
    applicationName: 'soak',
    max: writers + 2,
  });
  onStop(() => db.close());
  const committed = await writeEvents(db, warmEvents, random);
  await drained(db, committed);
  log(`${warmEvents} events went through; NATS goes away`);
  await platform.stack.parts.nats.kill();
  const awayAt = performance.now();
  const end = new AbortController();
  signal.addEventListener('abort', () => end.abort(), { once: true });
  onStop(async () => end.abort());
  const disturbances = disturb(platform, random, options.disturbEverySeconds, end.signal, log);
  committed.push(...(await writeEvents(db, options.events, random)));
  log(`${options.events} events wait after ${((performance.now() - awayAt) / 1000).toFixed(0)} s`);
  const left = options.outageMinutes * 60_000 - (performance.now() - awayAt);
  if (left > 0) await delay(left, undefined, { signal });
  const outageSeconds = (performance.now() - awayAt) / 1000;
  await platform.stack.parts.nats.start();
  const backAt = performance.now();
  log(`NATS is back after ${outageSeconds.toFixed(0)} s`);
  await drained(db, committed);
  const drainSeconds = (performance.now() - backAt) / 1000;
  end.abort();
  const done = await disturbances;
  const findings = await audit(platform, db, committed);
  const report = {
    seed: options.seed,
    events: committed.length,
    aggregates: new Set(committed.map((event) => event.aggregateId)).size,
    outage_seconds: outageSeconds,
    drain_seconds: drainSeconds,
    drained_per_second: options.events / drainSeconds,
    disturbances: done,
    findings,
  };
  const broken = findings.length === 0 ? undefined : `${findings.length} findings: ${findings[0] ?? ''}`;
  return { report, summary: report, stateDir: platform.stack.stateDir, broken };
}
