/** A NATS server with a configuration of the test's own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { nkeys } from 'nats';
import { natsSource } from '../../workers/local/parts/nats.ts';
import { acceptsConnections, reserveFreePort } from '../../workers/local/ports.ts';
import { missingPartError, resolvePart } from '../../workers/local/resolve.ts';
import { loadStackConfig } from '../../workers/local/stack-config.ts';
import { until } from './fixture.ts';

export interface OwnNats {
  readonly port: number;
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** A folder that goes with the server. */
  readonly folder: string;
  /** Gives the running server other lines; who is connected and no longer known is sent away. */
  reconfigure(lines: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

/** @param lines of nats-server's configuration, after where it listens. */
export async function startNats(lines: readonly string[], jetStream = false): Promise<OwnNats> {
  const source = natsSource(loadStackConfig());
  const options = { env: process.env, useEnvironment: false, install: true, log: () => undefined };
  const found = await resolvePart(source, options);
  if (found.kind !== 'binary') throw missingPartError(source, found.candidates);
  const folder = await mkdtemp(path.join(tmpdir(), 'own-nats-'));
  const reserved = await reserveFreePort('own-nats');
  const file = path.join(folder, 'nats.conf');
  const storage = jetStream ? [`jetstream { store_dir: ${JSON.stringify(path.join(folder, 'store'))} }`] : [];
  const configure = (given: readonly string[]): Promise<void> =>
    writeFile(file, [`listen: "127.0.0.1:${reserved.port}"`, ...storage, ...given, ''].join('\n'));
  await configure(lines);
  const child = spawn(found.binary, ['--config', file], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const reconfigure = async (given: readonly string[]): Promise<void> => {
    await configure(given);
    child.kill('SIGHUP');
  };
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
    reserved.release();
    await rm(folder, { recursive: true });
  };
  await until('the server answers', async () => {
    if (child.exitCode !== null) throw new Error(`nats-server ended with ${child.exitCode}`);
    return await acceptsConnections('127.0.0.1', reserved.port);
  });
  return { port: reserved.port, host: `127.0.0.1:${reserved.port}`, folder, reconfigure, stop };
}

type Key = ReturnType<typeof nkeys.createUser>;

function token(signer: Key, subject: Key, type: 'operator' | 'account' | 'user', limits: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = [
    part({ typ: 'JWT', alg: 'ed25519-nkey' }),
    part({
      jti: type,
      iat: Math.floor(Date.now() / 1000),
      iss: signer.getPublicKey(),
      sub: subject.getPublicKey(),
      name: type,
      nats: { ...limits, type, version: 2 },
    }),
  ].join('.');
  return `${body}.${Buffer.from(signer.sign(Buffer.from(body))).toString('base64url')}`;
}

/** An installation of NATS that knows its users by JWT: lines for the server, and the file of a user. */
export function jwtUser(): { readonly lines: readonly string[]; readonly creds: string } {
  const [operator, account, user] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createUser()];
  const none = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, conn: -1, leaf: -1 };
  const accountLimits = { limits: { ...none, wildcards: true } };
  const userLimits = { pub: {}, sub: {}, subs: -1, data: -1, payload: -1 };
  const creds = [
    '-----BEGIN NATS USER JWT-----',
    token(account, user, 'user', userLimits),
    '------END NATS USER JWT------',
    '',
    '-----BEGIN USER NKEY SEED-----',
    Buffer.from(user.getSeed()).toString(),
    '------END USER NKEY SEED------',
    '',
  ].join('\n');
  const lines = [
    `operator: ${token(operator, operator, 'operator', {})}`,
    'resolver: MEMORY',
    `resolver_preload: { ${account.getPublicKey()}: ${token(operator, account, 'account', accountLimits)} }`,
  ];
  return { lines, creds };
}
