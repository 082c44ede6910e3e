/** Nothing missed, nothing twice: over replicas, lost connections, lost messages and servers that go away. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { notificationCloses as closes } from '../../contracts/ops/notification.ts';
import { startTimeoutMs } from '../harness/api.ts';
import { until } from '../harness/lab.ts';
import { dialSocket, openSocket, type SocketClient } from '../harness/sockets.ts';
import { auditDelivery } from './delivery-auditor.ts';
import { operators, startNotices, type Notices, type Person } from './fixture.ts';

let n: Notices;
const [first, second, patient, short] = [0, 1, 2, 3];
beforeAll(async () => {
  const usual = { pingMs: 30_000, sweepMs: 300 };
  const never = 600_000;
  n = await startNotices({
    replicas: [
      usual,
      usual,
      { pingMs: never, sweepMs: never, bufferBytes: 4096 },
      { pingMs: 300, sweepMs: never },
    ],
    policies: { 'notification.max_connections_per_user': 3 },
  });
}, startTimeoutMs);
afterAll(() => n?.stop(), startTimeoutMs);

/** The same numbers in every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A client that loses its connection again and again, and comes back with the last id that it has. */
async function restless(person: Person, since: string, end: () => string | undefined, seed: number) {
  const pick = numbers(seed);
  const received: string[] = [];
  let connections = 0;
  while (received.at(-1) !== end() || end() === undefined) {
    const url = n.replicas[pick(2)]?.publicUrl ?? '';
    const query = `?after=${received.at(-1) ?? since}`;
    const client = dialSocket(url, { token: person.token, query });
    connections += 1;
    const enough = 1 + pick(25);
    const arrived = until(
      'frames',
      () => client.frames.length >= enough || (end() !== undefined && client.ids.at(-1) === end()),
      { state: () => ({ got: client.frames.length, all: received.length, end: end() }) },
    );
    await Promise.race([arrived, client.closed]);
    // Whatever came until now was shown; the rest is lost with the connection.
    received.push(...client.ids);
    client.cut();
    await client.closed;
  }
  return { received, connections };
}

describe('the auditor', () => {
  const stored = { a: ['1', '2', '3'], b: ['x', 'y'] };
  it.each([
    ['nothing', ['1', 'x', '2', 'y', '3'], []],
    ['a loss', ['1', 'x', '2', 'y'], ['lost']],
    ['a repeat', ['1', 'x', 'x', '2', 'y', '3'], ['twice']],
    ['a swap', ['1', 'x', '3', '2', 'y'], ['out-of-order']],
    ['a stranger', ['1', 'x', '2', 'y', '3', 'z'], ['stranger']],
  ])('finds %s', (_, received, kinds) => {
    expect(auditDelivery(stored, received).map(({ kind }) => kind)).toEqual(kinds);
  });

  it('finds that there was nothing to audit', () => {
    expect(auditDelivery({}, []).map(({ kind }) => kind)).toEqual(['nothing-to-audit']);
  });
});

describe('delivery', () => {
  it('reaches the sockets of a user on every replica', async () => {
    const person = await n.person();
    const clients = [await n.open(person, { replica: first }), await n.open(person, { replica: second })];
    const ids = [await n.tell(person.id), await n.tell(person.id), await n.tell(person.id)];
    for (const client of clients) {
      await client.untilFrames(3);
      expect(client.ids).toEqual(ids);
      await client.close();
    }
  });

  it('comes without a look into the table when nothing was missed', async () => {
    const person = await n.person();
    const client = await n.open(person, { replica: patient });
    const before = await n.metric('gpuaas_notification_gap_reads_total', patient);
    await n.tellMany(Array.from({ length: 20 }, () => person.id));
    await client.untilFrames(20);
    const admin = await n.open(await n.person(['user', 'admin']), { replica: patient });
    await n.tell(operators);
    await admin.untilFrames(1);
    expect(await n.metric('gpuaas_notification_gap_reads_total', patient)).toBe(before);
    await client.close();
    await admin.close();
  });

  it('reads the gap when a message was lost, and the sweep finds one that nobody announced', async () => {
    const person = await n.person();
    const [blind, swept] = [
      await n.open(person, { replica: patient }),
      await n.open(person, { replica: first }),
    ];
    const ids = [await n.tellSilently(person.id)];
    await swept.untilFrames(1);
    expect(blind.frames).toEqual([]);
    ids.push(await n.tell(person.id));
    for (const client of [blind, swept]) {
      await client.untilFrames(2);
      expect(client.ids).toEqual(ids);
      await client.close();
    }
    expect(await n.metric('gpuaas_notification_gap_reads_total', patient)).toBeGreaterThan(0);
  });

  it('stores the same event once for each recipient', async () => {
    const person = await n.person();
    const client = await n.open(person);
    const same = { eventId: person.id };
    const [one, other] = [await n.tell(person.id, same), await n.tell(person.id, same)];
    const last = await n.tell(person.id);
    await client.untilFrames(2);
    expect(other).toBe(one);
    expect(client.ids).toEqual([one, last]);
    await client.close();
  });

  it.each([11, 12, 13])('loses nothing over random disconnects of a user (seed %i)', async (seed) => {
    const person = await n.person();
    const since = await n.tell(person.id);
    const ids: string[] = [];
    const goal: { id?: string | undefined } = {};
    const client = restless(person, since, () => goal.id, seed);
    for (let i = 0; i < 200; i += 1) {
      ids.push(i % 7 === 0 ? await n.tellSilently(person.id) : await n.tell(person.id));
    }
    goal.id = ids.at(-1);
    const { received, connections } = await client;
    expect(auditDelivery({ own: ids }, received)).toEqual([]);
    expect(connections).toBeGreaterThan(5);
  });

  it.each([21, 22, 23])('nor of an admin, whose own and operators’ come mixed (seed %i)', async (seed) => {
    const admin = await n.person(['user', 'admin']);
    const since = await n.tell(admin.id);
    const stored = { own: [] as string[], operators: [] as string[] };
    const goal: { id?: string | undefined } = {};
    const client = restless(admin, since, () => goal.id, seed);
    const write = async (list: string[], recipient: string, silentEvery: number): Promise<void> => {
      for (let i = 1; i <= 100; i += 1) {
        list.push(i % silentEvery === 0 ? await n.tellSilently(recipient) : await n.tell(recipient));
      }
    };
    // At once, so that each often waits for the other's commit.
    await Promise.all([write(stored.own, admin.id, 5), write(stored.operators, operators, 7)]);
    const last = await n.tell(admin.id);
    stored.own.push(last);
    goal.id = last;
    const { received, connections } = await client;
    expect(auditDelivery(stored, received)).toEqual([]);
    expect(connections).toBeGreaterThan(5);
  });

  it('of operators’ alerts is to admins, and to nobody else', async () => {
    const [user, admin, other] = [
      await n.person(),
      await n.person(['user', 'admin']),
      await n.person(['user', 'admin']),
    ];
    const clients: SocketClient[] = [];
    for (const [person, replica] of [
      [user, first],
      [admin, first],
      [other, second],
    ] as const) {
      clients.push(await n.open(person, { replica }));
    }
    const alert = await n.tell(operators);
    const own = await n.tell(user.id);
    for (const client of clients) await client.untilFrames(1);
    expect(clients.map((client) => client.ids)).toEqual([[own], [alert], [alert]]);
    for (const client of clients) await client.close();
  });

  it('goes on where it was when the history before is aged out', async () => {
    const person = await n.person();
    const ids = await n.tellMany(Array.from({ length: 5 }, () => person.id));
    await n.h.db.q.execute(`delete from notifications where recipient = '${person.id}' and seq <= 3`);
    const client = await n.open(person, { query: `?after=${ids[3]}` });
    await client.untilFrames(1);
    ids.push(await n.tell(person.id));
    await client.untilFrames(2);
    expect(client.ids).toEqual(ids.slice(4));
    const gone = await openSocket(n.replicas[0]?.publicUrl ?? '', {
      token: person.token,
      query: `?after=${ids[0]}`,
    });
    expect((await gone.closed).code).toBe(closes.notFound);
    await client.close();
  });
});

describe('limits', () => {
  it('count the sockets of a user over all replicas', async () => {
    const person = await n.person();
    const open = [await n.open(person), await n.open(person, { replica: second }), await n.open(person)];
    for (const replica of [first, second]) {
      const url = n.replicas[replica]?.publicUrl ?? '';
      const refused = await openSocket(url, { token: person.token });
      expect(await refused.closed).toEqual({ code: closes.tooMany, reason: 'rate_limit_exceeded' });
    }
    await open[1]?.close();
    const dial = (): SocketClient => dialSocket(n.replicas[first]?.publicUrl ?? '', { token: person.token });
    let again = dial();
    await until('a place is free again', async () => {
      if (again.ws.readyState === again.ws.CLOSED) again = dial();
      await n.tell(person.id);
      return again.frames.length > 0;
    });
    await again.close();
    for (const client of open) await client.close();
  });

  it('close a client that does not read, which loses nothing', async () => {
    const person = await n.person();
    const since = await n.tell(person.id);
    const slow = await n.open(person, { replica: patient });
    slow.ws.pause();
    const before = await n.metric('gpuaas_notification_slow_consumer_closes_total', patient);
    const ids: string[] = [];
    const large = { message: '😀'.repeat(2000) };
    await until('it is too slow', async () => {
      ids.push(
        ...(await n.tellMany(
          Array.from({ length: 100 }, () => person.id),
          large,
        )),
      );
      return (await n.metric('gpuaas_notification_slow_consumer_closes_total', patient)) > before;
    });
    slow.ws.resume();
    // Cut, or closed when it read on in time: never more than was stored, and in order.
    expect([closes.tryAgainLater, 1006]).toContain((await slow.closed).code);
    expect(slow.ids).toEqual(ids.slice(0, slow.ids.length));
    expect(slow.ids.length).toBeLessThan(ids.length);
    const again = await n.open(person, { replica: patient, query: `?after=${slow.ids.at(-1) ?? since}` });
    await again.untilFrames(ids.length - slow.ids.length);
    expect(auditDelivery({ own: ids }, [...slow.ids, ...again.ids])).toEqual([]);
    await again.close();
  });

  it('cut a client that gives no sign of life, and keep one that does', async () => {
    const [dead, alive] = [await n.person(), await n.person()];
    const silent = await n.open(dead, { replica: short, client: { autoPong: false } });
    const healthy = await n.open(alive, { replica: short });
    expect((await silent.closed).code).toBe(1006);
    const id = await n.tell(alive.id);
    await healthy.untilFrames(1);
    expect(healthy.ids).toEqual([id]);
    await healthy.close();
  });
});

describe('servers that go away', () => {
  it('Redis: sockets stay, the sweep serves, and live messages come again afterwards', async () => {
    const person = await n.person();
    const since = await n.tell(person.id);
    const client = await n.open(person, { replica: first });
    await n.h.stack.parts.redis.kill();
    const ids = [await n.tell(person.id), await n.tell(person.id)];
    await client.untilFrames(2);
    // Somebody new is let in meanwhile, and counted by the replica alone.
    const late = await n.open(person, { replica: second, query: `?after=${since}` });
    await late.untilFrames(2);
    await n.h.stack.parts.redis.start();
    ids.push(await n.tell(person.id));
    for (const one of [client, late]) {
      await one.untilFrames(3);
      expect(one.ids).toEqual(ids);
    }
    // The replica that never sweeps shows that messages arrive again.
    const blind = await n.open(await n.person(), { replica: patient });
    await blind.close();
    const watcher = await n.person();
    const live = await n.open(watcher, { replica: patient });
    await until('a live message', async () => {
      await n.tell(watcher.id);
      return live.frames.length > 0;
    });
    for (const one of [client, late, live]) await one.close();
  });

  it('Postgres: sockets stay, newcomers are told to try again, and everything arrives afterwards', async () => {
    const person = await n.person();
    const client = await n.open(person, { replica: first });
    await n.tell(person.id);
    await client.untilFrames(1);
    await n.h.stack.parts.postgres.kill();
    const refused = await openSocket(n.replicas[first]?.publicUrl ?? '', { token: person.token });
    expect(await refused.closed).toEqual({ code: closes.tryAgainLater, reason: 'service_unavailable' });
    await n.h.stack.parts.postgres.start();
    let id = '';
    await until('the writer works again', async () => {
      id = await n.tellSilently(person.id).catch(() => '');
      return id !== '';
    });
    await until('it arrives', () => client.ids.at(-1) === id);
    await client.close();
  });

  it('a replica that drains says so, and its clients go on at another', async () => {
    const person = await n.person();
    const client = await n.open(person, { replica: short });
    const ids = [await n.tell(person.id)];
    await client.untilFrames(1);
    await n.replicas[short]?.stop();
    expect((await client.closed).code).toBe(closes.goingAway);
    ids.push(await n.tell(person.id));
    const again = await n.open(person, { replica: first, query: `?after=${client.ids.at(-1)}` });
    await again.untilFrames(1);
    expect([...client.ids, ...again.ids]).toEqual(ids);
    await again.close();
  });
});
