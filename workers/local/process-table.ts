import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

const hasProc = existsSync('/proc/self/stat');

function ps(args: readonly string[]): string {
  try {
    return execFileSync('ps', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}

/** The fields of /proc/PID/stat after the command, which may itself hold spaces and brackets. */
function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** When a process started, as an opaque text: with the pid it names one process for ever. */
export function startTimeOf(pid: number): string | undefined {
  if (!hasProc) return ps(['-o', 'lstart=', '-p', String(pid)]) || undefined;
  return statFields(pid)?.[19];
}

/** True when the process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  if (hasProc) {
    const state = statFields(pid)?.[0];
    return state !== undefined && state !== 'Z' && state !== 'X';
  }
  const state = ps(['-o', 'state=', '-p', String(pid)]);
  return state !== '' && !state.startsWith('Z');
}

/** True when the process that had this pid and start time still runs. */
export function isSameProcess(pid: number, startTime: string): boolean {
  return isAlive(pid) && (startTime === '' || startTimeOf(pid) === startTime);
}

/** The bare command name of a process, without its arguments (they may hold secrets). */
function commandOf(pid: number): string {
  if (!hasProc) return ps(['-o', 'comm=', '-p', String(pid)]) || 'unknown';
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return 'unknown';
  }
}

function allPids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

function parents(): Map<number, number> {
  if (hasProc) {
    return new Map(allPids().map((pid) => [pid, Number(statFields(pid)?.[1] ?? 0)]));
  }
  const rows = ps(['-axo', 'pid=,ppid=']).split('\n');
  return new Map(
    rows.map((row) => {
      const [pid, ppid] = row.trim().split(/\s+/).map(Number);
      return [pid ?? 0, ppid ?? 0];
    }),
  );
}

/** Every process below this one, without itself. */
export function descendantsOf(pid: number): number[] {
  const parentOf = parents();
  const found: number[] = [];
  const queue = [pid];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const [child, parent] of parentOf) {
      if (parent !== next) continue;
      found.push(child);
      queue.push(child);
    }
  }
  return found;
}

/**
 * Processes whose working directory is this one. A Postgres server and all its backends work in their
 * data directory. Without /proc the answer comes from lsof.
 */
export function processesIn(dir: string): number[] {
  if (hasProc) {
    return allPids().filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === dir && isAlive(pid);
      } catch {
        return false;
      }
    });
  }
  try {
    const out = execFileSync('lsof', ['-t', '-a', '-d', 'cwd', dir], { encoding: 'utf8' });
    return out.split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function listeningInode(port: number): string | undefined {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    if (!existsSync(table)) continue;
    for (const line of readFileSync(table, 'utf8').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[3] === '0A' && fields[1]?.endsWith(`:${hex}`)) return fields[9];
    }
  }
  return undefined;
}

function hasOpenSocket(pid: number, inode: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`;
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}

/** Who listens on a TCP port, in words: the process where it can be seen. */
export function describePortHolder(port: number): string {
  if (hasProc) {
    const inode = listeningInode(port);
    const pid =
      inode === undefined ? undefined : allPids().find((candidate) => hasOpenSocket(candidate, inode));
    return pid === undefined
      ? 'a process of another user or namespace'
      : `process ${pid} (${commandOf(pid)})`;
  }
  try {
    const pid = Number(
      execFileSync('lsof', ['-t', `-iTCP:${port}`, '-sTCP:LISTEN'], { encoding: 'utf8' }).split('\n')[0],
    );
    return `process ${pid} (${commandOf(pid)})`;
  } catch {
    return 'an unknown process';
  }
}
