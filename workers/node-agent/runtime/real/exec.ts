import { execFile } from 'node:child_process';
import { systemCode, transient, type TaskFailure } from '../../failure.ts';

const TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024;

export interface Ran {
  /** 0 when it succeeded; `undefined` when the program is not installed. */
  readonly code: number | undefined;
  readonly stdout: string;
}

/**
 * Runs a program without a shell.
 * @param until ends the program; with it there is no other limit, for work that takes as long as its disk is large.
 * @throws TaskFailure `command_failed` when it was killed or ran too long; the signal's reason when that ended it.
 */
export function run(program: string, args: readonly string[], until?: AbortSignal): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const options = {
      ...(until === undefined ? { timeout: TIMEOUT_MS } : { signal: until }),
      maxBuffer: MAX_OUTPUT_BYTES,
      env: { PATH: toolPath(), LC_ALL: 'C' },
    };
    execFile(program, args, options, (error, stdout) => {
      if (error === null) resolve({ code: 0, stdout });
      else if (until?.aborted === true) reject(until.reason as Error);
      else if (systemCode(error) === 'ENOENT') resolve({ code: undefined, stdout: '' });
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout });
      else reject(transient('command_failed', `${program} was ended before its time`));
    });
  });
}

/** System tools may stand in places that a service's own PATH does not name. */
const toolPath = (): string =>
  [process.env['PATH'], '/usr/sbin', '/usr/bin', '/sbin', '/bin'].filter(Boolean).join(':');

/** The failure of a program; its output is not told, it may name people. */
export const commandFailed = (program: string, code: number | undefined): TaskFailure =>
  transient(
    'command_failed',
    code === undefined ? `${program} is not installed` : `${program} ended with ${code}`,
  );

/** @throws TaskFailure `command_failed` unless the program ends with 0 or one of the codes that are as good. */
export async function mustRun(
  program: string,
  args: readonly string[],
  alsoGood: readonly number[] = [],
): Promise<string> {
  const { code, stdout } = await run(program, args);
  if (code === 0 || (code !== undefined && alsoGood.includes(code))) return stdout;
  throw commandFailed(program, code);
}
