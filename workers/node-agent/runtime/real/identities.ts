import { readFile } from 'node:fs/promises';
import { createMutex, parseGroup, parsePasswd } from '../passwd.ts';
import type { Identities } from '../runtime.ts';
import { mustRun } from './exec.ts';

/** "specified user (or group) does not exist" of the shadow tools. */
const NO_SUCH_ENTRY = 6;

/** Local users through the shadow tools, one change at a time. */
export function createRealIdentities(): Identities {
  const exclusive = createMutex();
  const change = (
    program: string,
    args: readonly string[],
    alsoGood: readonly number[] = [],
  ): Promise<void> => exclusive(async () => void (await mustRun(program, args, alsoGood)));
  return {
    users: async () => parsePasswd(await readFile('/etc/passwd', 'utf8')),
    groups: async () => parseGroup(await readFile('/etc/group', 'utf8')),
    addGroup: ({ name, gid }) => change('groupadd', ['--gid', String(gid), name]),
    addUser: ({ username, uid, gid, home }) =>
      change('useradd', [
        ...['--uid', String(uid), '--gid', String(gid), '--home-dir', home],
        ...['--no-create-home', '--no-log-init', '--shell', '/bin/bash', username],
      ]),
    // An expired account is refused by every way in, keys included.
    lockUser: (username) => change('usermod', ['--expiredate', '1', username], [NO_SUCH_ENTRY]),
    removeUser: (username) => change('userdel', [username], [NO_SUCH_ENTRY]),
    removeGroup: (name) => change('groupdel', [name], [NO_SUCH_ENTRY]),
  };
}
