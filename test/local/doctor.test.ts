/** `npm run stack -- doctor`, run as a person runs it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PartName } from '../../workers/local/part-name.ts';
import { cacheDir } from '../../workers/local/paths.ts';
import { checkoutRoot, loadStackConfig } from '../../workers/local/stack-config.ts';
import { PART_NAMES, partSources } from '../../workers/local/stack.ts';

const config = loadStackConfig();
const sources = partSources(config);
const addressVariables = Object.values(sources).flatMap((source) => source.addressVariables);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'gpuaas-doctor-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

interface Diagnosed {
  readonly code: number | null;
  readonly output: string;
}

/** The doctor's answer; nobody's own servers are in its environment but those given. */
async function doctor(env: Readonly<Record<string, string>> = {}): Promise<Diagnosed> {
  const own = Object.entries(process.env).filter(([name]) => !addressVariables.includes(name));
  const child = spawn('npm', ['run', '--silent', 'stack', '--', 'doctor'], {
    cwd: checkoutRoot,
    env: { ...Object.fromEntries(own), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => void (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

/** Cells of a part's line of the table: part, from, version, what. */
function rowOf({ output }: Diagnosed, part: PartName): string[] {
  const row = output.split('\n').find((line) => line.startsWith(`${part} `));
  return (row ?? `no line of ${part}`).split(/ {2,}/);
}

/** Every place that was looked at for a part, with what came of it. */
function placesOf({ output }: Diagnosed, part: PartName): string[] {
  const lines = output.split('\n');
  const from = lines.findIndex((line) =>
    line.startsWith(`  ${part} (pinned ${config.versions[part].pinned}, `),
  );
  const rest = lines.slice(from + 1);
  const end = rest.findIndex((line) => !line.startsWith('    '));
  return (from < 0 ? [] : rest.slice(0, end < 0 ? undefined : end)).map((line) =>
    line.trim().replace(/ {2,}/g, ' '),
  );
}

/** A real executable that answers --version. */
function plant(file: string, says: string): string {
  const full = path.join(dir, file);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, `#!/bin/sh\n${says === '' ? 'exit 3' : `echo '${says}'`}\n`);
  chmodSync(full, 0o755);
  return full;
}
const withPath = (folder: string): string => `${path.join(dir, folder)}:${process.env['PATH'] ?? ''}`;

describe('npm run stack -- doctor', () => {
  it('names every part with its version and why it was taken or passed over, and exits 0', async () => {
    const answer = await doctor();
    expect(answer).toMatchObject({ code: 0 });
    expect(rowOf(answer, 'part' as PartName)).toEqual(['part', 'from', 'version', 'what']);
    for (const part of PART_NAMES) {
      const [, from, version, what] = rowOf(answer, part);
      expect([part, from]).toEqual([part, expect.stringMatching(/^(path|cache)$/)]);
      expect([part, version]).toEqual([part, expect.stringMatching(/^\d+\.\d+/)]);
      const places = placesOf(answer, part);
      expect(places[0]).toBe(`passed environment ${sources[part].addressVariables.join(', ')} not set`);
      expect(places.filter((place) => place.startsWith('taken '))).toHaveLength(1);
      expect(places.at(-1)).toMatch(new RegExp(`^taken ${from} `));
      if (from === 'cache') expect(places.at(-1)).toBe(`taken cache ${what}`);
    }
    expect(answer.output).toContain(`\ncache ${cacheDir()}\n`);
  }, 120_000);

  it('shows a binary on PATH that is too old or tells nothing, and what is taken instead', async () => {
    const old = plant('bin/redis-server', 'Redis server v=6.2.14');
    const mute = plant('bin/nats-server', '');
    const answer = await doctor({ PATH: withPath('bin') });
    expect(answer.code).toBe(0);
    expect(placesOf(answer, 'redis')).toContain(
      `passed path ${old} is 6.2.14, older than ${config.versions.redis.minimum}`,
    );
    expect(placesOf(answer, 'nats')).toContain(`passed path ${mute} tells no version`);
    for (const part of ['redis', 'nats'] as const)
      expect(rowOf(answer, part).slice(0, 3)).toEqual([part, 'cache', config.versions[part].pinned]);
  }, 120_000);

  it('shows a newer binary on PATH as the one that is taken', async () => {
    const newer = plant('bin/redis-server', 'Redis server v=7.9.1');
    const answer = await doctor({ PATH: withPath('bin') });
    expect(rowOf(answer, 'redis')).toEqual(['redis', 'path', '7.9.1', newer]);
  }, 120_000);

  it('shows the address that a variable overrides a part with, without its credentials', async () => {
    const secret = 'hunter2';
    const answer = await doctor({ NATS_URL: `nats://me:${secret}@10.1.2.3:4222?token=${secret}` });
    expect(answer.code).toBe(0);
    const reason = 'NATS_URL = nats://[REDACTED]@10.1.2.3:4222';
    expect(rowOf(answer, 'nats')).toEqual(['nats', 'environment', '(checked at start)', reason]);
    expect(placesOf(answer, 'nats')).toEqual([`taken environment ${reason}`]);
    expect(answer.output).not.toContain(secret);
  }, 120_000);

  it('exits 1 for a binary in the cache that is another version than its folder says', async () => {
    mirrorCache();
    const folder = path.relative(cacheDir(), sources.nats.cached);
    rmSync(path.join(dir, 'cache', folder.split(path.sep)[0] ?? ''));
    const wrong = plant(path.join('cache', folder), 'nats-server: v2.1.0');
    const answer = await doctor({ GPUAAS_CACHE_DIR: path.join(dir, 'cache') });
    expect(answer.code).toBe(1);
    expect(rowOf(answer, 'nats')).toEqual(['nats', 'cache', '2.1.0', wrong]);
    expect(placesOf(answer, 'nats').at(-1)).toBe(`wrong says it is 2.1.0: remove ${wrong}`);
    expect(answer.output).toContain('missing: nats; npm run stack -- install');
  }, 120_000);

  it('exits 1 and says how to get what is missing', async () => {
    mirrorCache();
    const folder = path.relative(cacheDir(), sources.redis.cached).split(path.sep)[0] ?? '';
    rmSync(path.join(dir, 'cache', folder));
    const answer = await doctor({ GPUAAS_CACHE_DIR: path.join(dir, 'cache') });
    expect(answer.code).toBe(1);
    expect(rowOf(answer, 'redis').slice(0, 3)).toEqual(['redis', 'missing', '-']);
    expect(placesOf(answer, 'redis').filter((place) => place.startsWith('taken '))).toEqual([]);
    expect(placesOf(answer, 'redis').at(-1)).toContain("unpack Debian's redis-server");
    expect(answer.output).toContain('missing: redis; npm run stack -- install');
  }, 120_000);
});

/** A cache whose parts are those of the real one, each to be replaced. */
function mirrorCache(): void {
  mkdirSync(path.join(dir, 'cache'));
  for (const part of PART_NAMES) {
    const folder = path.relative(cacheDir(), sources[part].cached).split(path.sep)[0] ?? '';
    symlinkSync(path.join(cacheDir(), folder), path.join(dir, 'cache', folder));
  }
}
