import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { checkoutRoot } from './stack-config.ts';

/** An account that a part runs as, when the launcher itself is root. */
export interface ServiceUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** True when this process is root. */
function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Where installed binaries are kept, shared by every checkout: GPUAAS_CACHE_DIR, else by convention. */
export function cacheDir(): string {
  const chosen = process.env['GPUAAS_CACHE_DIR'];
  if (chosen) return path.resolve(chosen);
  if (isRoot()) return '/var/cache/gpuaas';
  return path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'gpuaas');
}

/** The folder that holds the state folders of all stacks: GPUAAS_STATE_DIR, else by convention. */
export function stateRoot(): string {
  const chosen = process.env['GPUAAS_STATE_DIR'];
  if (chosen) return path.resolve(chosen);
  if (isRoot()) return '/var/lib/gpuaas';
  return path.join(process.env['XDG_STATE_HOME'] ?? path.join(homedir(), '.local', 'state'), 'gpuaas');
}

/**
 * The folder of one named stack of this checkout. Two checkouts never share one.
 * @throws Error when the name is not a short lower-case word.
 */
export function stackStateDir(name: string): string {
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(name))
    throw new Error(`stack name '${name}': lower-case letters, digits, -`);
  const hash = createHash('sha256').update(checkoutRoot).digest('hex').slice(0, 8);
  return path.join(stateRoot(), `${name}-${hash}`);
}

function lookUpUser(name: string): ServiceUser | undefined {
  try {
    const id = (flag: string): number =>
      Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    return { name, uid: id('-u'), gid: id('-g') };
  } catch {
    return undefined;
  }
}

/**
 * The account for a server that refuses root: undefined when this process is not root, else `postgres`
 * where that account exists, else `nobody`.
 * @throws Error when root has neither.
 */
export function serviceUser(): ServiceUser | undefined {
  if (!isRoot()) return undefined;
  const user = lookUpUser('postgres') ?? lookUpUser('nobody');
  if (!user) throw new Error('Postgres refuses to run as root, and there is no account postgres or nobody');
  return user;
}

/**
 * Checks that another account can walk down to a folder.
 * @throws Error naming the first folder on the way that is closed to it, and the way out.
 */
export function assertReachable(dir: string, user: ServiceUser | undefined): void {
  if (!user) return;
  for (let at = dir; ; at = path.dirname(at)) {
    const stat = statSync(at);
    const open =
      (stat.mode & 0o001) !== 0 ||
      (stat.uid === user.uid && (stat.mode & 0o100) !== 0) ||
      (stat.gid === user.gid && (stat.mode & 0o010) !== 0);
    if (!open) {
      throw new Error(
        `account ${user.name} cannot enter ${at}: set GPUAAS_STATE_DIR and GPUAAS_CACHE_DIR to folders it can reach`,
      );
    }
    if (at === path.dirname(at)) return;
  }
}
