import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  compareVersions,
  missingPartError,
  redactAddress,
  resolvePart,
  type Obtainer,
  type PartSource,
  type Resolution,
} from '../../workers/local/resolve.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'gpuaas-resolve-'));
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A real executable that answers --version. */
function executable(file: string, version: string): string {
  const full = path.join(dir, file);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, `#!/bin/sh\necho "Thing v=${version} build"\n`);
  chmodSync(full, 0o755);
  return full;
}

function source(obtainers: readonly Obtainer[] = []): PartSource {
  return {
    name: 'redis',
    pinned: '7.0.15',
    minimum: '7.0',
    addressVariables: ['THING_URL'],
    binary: 'thing',
    cached: path.join(dir, 'cache', 'thing'),
    obtainers,
  };
}

function resolve(
  options: { env?: NodeJS.ProcessEnv; obtainers?: Obtainer[]; useEnvironment?: boolean } = {},
) {
  return resolvePart(source(options.obtainers), {
    env: { PATH: path.join(dir, 'bin'), ...options.env },
    useEnvironment: options.useEnvironment ?? true,
    install: true,
    log: () => undefined,
  });
}

function told(resolution: Resolution): string[] {
  return resolution.candidates.map(
    ({ source: from, taken, reason }) => `${from} ${taken ? '+' : '-'} ${reason}`,
  );
}

describe('resolution order', () => {
  it('takes an address before anything else, and never tells its password', async () => {
    executable('bin/thing', '7.2.0');
    const found = await resolve({ env: { THING_URL: 'redis://me:secret@host:1/0?auth=secret' } });
    expect(found).toMatchObject({ kind: 'address', address: 'redis://me:secret@host:1/0?auth=secret' });
    expect(told(found)).toEqual(['environment + THING_URL = redis://[REDACTED]@host:1/0']);
  });

  it('takes a binary on PATH that is new enough', async () => {
    const binary = executable('bin/thing', '7.2.0');
    executable('cache/thing', '7.0.15');
    expect(await resolve()).toMatchObject({ kind: 'binary', binary, version: '7.2.0', source: 'path' });
  });

  it('passes over an old binary on PATH with that reason, and takes the cache', async () => {
    const old = executable('bin/thing', '6.2.14');
    const cached = executable('cache/thing', '7.0.15');
    const found = await resolve();
    expect(found).toMatchObject({ kind: 'binary', binary: cached, version: '7.0.15', source: 'cache' });
    expect(told(found)).toEqual([
      'environment - THING_URL not set',
      `path - ${old} is 6.2.14, older than 7.0`,
      `cache + ${cached}`,
    ]);
  });

  it('ignores an address for a private stack', async () => {
    const cached = executable('cache/thing', '7.0.15');
    const found = await resolve({ env: { THING_URL: 'redis://host' }, useEnvironment: false });
    expect(found).toMatchObject({ kind: 'binary', binary: cached });
  });

  it('goes on to the next way when one is unavailable or fails', async () => {
    const obtained = path.join(dir, 'built');
    const ways: Obtainer[] = [
      {
        source: 'download',
        how: 'vendor',
        unavailable: () => Promise.resolve('not reachable'),
        run: () => Promise.reject(new Error('must not run')),
      },
      {
        source: 'registry',
        how: 'build one',
        unavailable: () => Promise.resolve(undefined),
        run: () => Promise.reject(new Error('no compiler')),
      },
      {
        source: 'registry',
        how: 'build two',
        unavailable: () => Promise.resolve(undefined),
        run: () => Promise.resolve(obtained),
      },
    ];
    const found = await resolve({ obtainers: ways });
    expect(found).toMatchObject({ kind: 'binary', binary: obtained, source: 'registry' });
    expect(told(found).slice(3)).toEqual([
      'download - vendor: not reachable',
      'registry - build one failed: no compiler',
      'registry + build two',
    ]);
  });

  it('ends in one error with every reason and three ways out', async () => {
    const found = await resolve();
    expect(found.kind).toBe('missing');
    const { message } = missingPartError(source(), found.candidates);
    expect(message).toContain('path: no thing on PATH');
    expect(message).toMatch(/Three ways out:\n {2}1\. set THING_URL .*\n {2}2\. put thing .*\n {2}3\. /);
  });
});

describe('versions', () => {
  it.each([
    ['16', '15.18', 1],
    ['2.10.0', '2.9.10', 1],
    ['18.4.0-beta.17', '18.4', 0],
    ['7.0', '7.0.15', -1],
  ])('%s against %s', (left, right, sign) => {
    expect(Math.sign(compareVersions(left, right))).toBe(sign);
  });
});

describe('addresses', () => {
  it.each([
    ['postgres://u:p@h:5432/d?sslmode=x', 'postgres://[REDACTED]@h:5432/d'],
    ['127.0.0.1:7233', '127.0.0.1:7233'],
  ])('%s', (given, shown) => {
    expect(redactAddress(given)).toBe(shown);
  });
});
