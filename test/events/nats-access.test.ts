/** Every process goes to a NATS server that asks who comes. */
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { readNatsAccess } from '../../activities/platform/nats-address.ts';
import { openReplaySink } from '../../activities/platform/nats-replays.ts';
import { connectNats, reconcileStreams, watchPayloadBound } from '../../activities/platform/nats.ts';
import { maxEventBytes } from '../../db/outbox.ts';
import { until } from './fixture.ts';
import { jwtUser, startNats, type OwnNats } from './own-nats.ts';

const name = 'nats-access-test';
/** Begins with digits, which must not be taken for a port, and has what separates the parts of an address. */
const password = '123:se@cr/et,%';
const encoded = encodeURIComponent(password);
const asRelay = [`authorization { user: relay, password: ${JSON.stringify(password)} }`];

let servers: OwnNats[] = [];
const start = async (lines: readonly string[], jetStream = false): Promise<OwnNats> => {
  const server = await startNats(lines, jetStream);
  servers.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(servers.map((one) => one.stop()));
  servers = [];
});

/** Connects, has one answer, and goes. */
const visit = async (url: string, credsFile?: string): Promise<void> => {
  const nc = await connectNats({ url, name, credsFile });
  await nc.flush();
  await nc.close();
};
const failureOf = async (work: Promise<unknown>): Promise<string> =>
  await work.then(
    () => 'no failure',
    (error: unknown) => `${String(error)} ${JSON.stringify(error)}`,
  );

const answers = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

interface Ended {
  readonly code: number | null;
  readonly output: string;
}
function run(script: string, env: Readonly<Record<string, string>>): Promise<Ended> {
  const child = spawn(process.execPath, ['--import', 'tsx', script, '--check'], {
    env: { ...process.env, GPUAAS_ENV: 'test', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => void (output += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}

describe('an address of NATS', () => {
  it.each<[string, object]>([
    ['nats://h:4222', { servers: ['h:4222'] }],
    ['h', { servers: ['h'] }],
    ['nats://relay:123secret@h:4222/', { servers: ['h:4222'], user: 'relay', pass: '123secret' }],
    ['nats://u:p@a:1, b:2', { servers: ['a:1', 'b:2'], user: 'u', pass: 'p' }],
    ['t%2Fk@[::1]:4222', { servers: ['[::1]:4222'], token: 't/k' }],
    ['tls://u:p%40q:r@h', { servers: ['h'], user: 'u', pass: 'p@q:r', tls: {} }],
  ])('%s is read into its parts', (url, access) => {
    expect(readNatsAccess(url)).toEqual(access);
  });

  it.each([
    ['two users', 'nats://a:hidden@h,nats://b:hidden@h', undefined],
    ['what is not encoded', 'nats://a:hidden%@h', undefined],
    ['a user beside a file', 'nats://a:hidden@h', '/nonexistent'],
  ])('with %s is refused, and the password is not told', (_, url, file) => {
    expect(() => readNatsAccess(url, file)).toThrow(/^NATS address: [^]*$/);
    expect(() => readNatsAccess(url, file)).not.toThrow('hidden');
  });
});

describe('a NATS server that asks for', { timeout: 120_000 }, () => {
  it('a user and a password is reached with them, and with no others', async () => {
    const { host } = await start(asRelay);
    await visit(`nats://relay:${encoded}@${host}`);
    for (const login of ['', 'relay:wrongone@', 'onlyatoken@']) {
      const failure = await failureOf(visit(`nats://${login}${host}`));
      expect(failure).toContain('AUTHORIZATION_VIOLATION');
      expect(failure).not.toMatch(/wrongone|onlyatoken/);
    }
  });

  it('a token is reached with it', async () => {
    const { host } = await start(['authorization { token: "s3cret/token" }']);
    await visit(`nats://s3cret%2Ftoken@${host}`);
    expect(await failureOf(visit(`nats://s3cret@${host}`))).toContain('AUTHORIZATION_VIOLATION');
  });

  it('a signed user is reached with the file of one', async () => {
    const { lines, creds } = jwtUser();
    const { host, folder } = await start(lines);
    const [file, other] = [path.join(folder, 'user.creds'), path.join(folder, 'other.creds')];
    await writeFile(file, creds);
    await writeFile(other, jwtUser().creds);
    await visit(`nats://${host}`, file);
    expect(await failureOf(visit(`nats://${host}`, other))).toContain('AUTHORIZATION_VIOLATION');
    expect(await failureOf(visit(`nats://${host}`, '/nonexistent'))).toContain('ENOENT');
  });

  it('no encryption is told nothing by one who wants it', async () => {
    const { host } = await start(asRelay);
    const options = { url: `tls://relay:${encoded}@${host}`, name, retry: 'none' } as const;
    expect(await failureOf(connectNats(options))).toMatch(/tls|secure|SERVER_OPTION/i);
  });

  it('a user is reached by replays and by the command for operators', async () => {
    const { host } = await start(asRelay, true);
    const NATS_URL = `nats://relay:${encoded}@${host}`;
    const sink = openReplaySink(NATS_URL);
    await until('replays reach it', () => answers(sink.ping()));
    await sink.close();
    const nc = await connectNats({ url: NATS_URL, name });
    await reconcileStreams(nc, { environment: 'test' });
    await nc.close();
    const compared = await run('workers/consumers/reconcile.ts', { NATS_URL });
    expect(compared).toMatchObject({ code: 1, output: expect.stringMatching(/^stream +\w+ +unchanged$/m) });
    const refused = await run('workers/consumers/reconcile.ts', {
      NATS_URL: `nats://relay:wrongone@${host}`,
    });
    expect(refused).toEqual({ code: 2, output: 'events: NATS refuses the credentials\n' });
  });
});

describe('a NATS server whose messages are', { timeout: 120_000 }, () => {
  it.each([
    ['too small for the largest event', 'max_payload: 512KB', 524_288],
    ['too small for it with its headers', `max_payload: ${maxEventBytes + 1000}`, maxEventBytes + 1000],
    ['of the usual size', '', undefined],
  ])('%s', async (_, line, bound) => {
    const server = await start([line]);
    const nc = await connectNats({ url: server.host, name });
    const told: number[] = [];
    watchPayloadBound(nc, maxEventBytes, ({ max_payload }) => told.push(max_payload));
    expect(told).toEqual(bound === undefined ? [] : [bound]);
    await nc.reconnect();
    await until('it is back', () => answers(nc.flush()));
    await until('it was told again', () => told.length === (bound === undefined ? 0 : 2));
    await nc.close();
  });
});

describe('a connection', { timeout: 120_000 }, () => {
  it('outlives a time in which its credentials are refused', async () => {
    const first = await start(asRelay);
    const nc = await connectNats({ url: `nats://relay:${encoded}@${first.host}`, name });
    let refusals = 0;
    void (async () => {
      for await (const { type, data } of nc.status())
        if (String(type) === 'error' && data === 'AUTHORIZATION_VIOLATION') refusals += 1;
    })();
    await first.reconfigure(['authorization { user: relay, password: another }']);
    await until('it was refused three times', () => refusals >= 3);
    await first.reconfigure(asRelay);
    await until('it is let in again', () => answers(nc.flush()));
    expect(nc.isClosed()).toBe(false);
    await nc.close();
  });
});
