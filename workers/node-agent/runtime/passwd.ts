import type { PosixGroup, PosixUser } from './runtime.ts';

/** Entries of an `etc/passwd`; lines that are none are passed over. */
export function parsePasswd(text: string): PosixUser[] {
  return text.split('\n').flatMap((line) => {
    const [username, , uid, gid, , home] = line.split(':');
    if (!username || home === undefined || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? '')) return [];
    return [{ username, uid: Number(uid), gid: Number(gid), home }];
  });
}

/** Entries of an `etc/group`; lines that are none are passed over. */
export function parseGroup(text: string): PosixGroup[] {
  return text.split('\n').flatMap((line) => {
    const [name, , gid] = line.split(':');
    return name && /^\d+$/.test(gid ?? '') ? [{ name, gid: Number(gid) }] : [];
  });
}

/** Runs one job after the other. */
export function createMutex(): <T>(job: () => Promise<T>) => Promise<T> {
  let tail: Promise<unknown> = Promise.resolve();
  return (job) => {
    const result = tail.then(job);
    tail = result.catch(() => undefined);
    return result;
  };
}
