/** Why a task did not succeed, as it is reported. The message is public: it holds no names, keys or paths of a tenant. */
export class TaskFailure extends Error {
  readonly code: string;
  readonly retryable: boolean;

  constructor(code: string, message: string, retryable: boolean) {
    super(message);
    this.name = 'TaskFailure';
    this.code = code;
    this.retryable = retryable;
  }
}

/** A failure that the same task would meet again: the attempts end at once. */
export const permanent = (code: string, message: string): TaskFailure =>
  new TaskFailure(code, message, false);

/** A failure that may pass. */
export const transient = (code: string, message: string): TaskFailure => new TaskFailure(code, message, true);

const textOf = (error: object, key: string): string | undefined => {
  const value: unknown = Reflect.get(error, key);
  return typeof value === 'string' ? value : undefined;
};

/** Code of a system error (`ENOENT`), if it is one. */
export const systemCode = (error: unknown): string | undefined =>
  error instanceof Error ? textOf(error, 'code') : undefined;

/** What kind of error it is, without its message: messages of the system hold paths, and paths hold names. */
export function describeError(error: unknown): string {
  if (error instanceof TaskFailure) return error.code;
  if (!(error instanceof Error)) return typeof error;
  return [error.name, textOf(error, 'code'), textOf(error, 'syscall')]
    .filter((part) => part !== undefined)
    .join(' ');
}

/** Resolves to `fallback` when the promise fails because the file does not exist. */
export async function unlessMissing<T, F>(promise: Promise<T>, fallback: F): Promise<T | F> {
  try {
    return await promise;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return fallback;
    throw error;
  }
}
