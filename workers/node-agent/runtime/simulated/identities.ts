import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createMutex, parseGroup, parsePasswd } from '../passwd.ts';
import type { Identities } from '../runtime.ts';
import { replaceFile } from './files.ts';

/** `etc/passwd` and `etc/group` below the root, changed by hand. */
export function createSimulatedIdentities(root: string): Identities {
  const passwd = path.join(root, 'etc/passwd');
  const group = path.join(root, 'etc/group');
  const exclusive = createMutex();

  /** Changes the lines of a file; writes only what has changed. */
  const edit = (file: string, change: (lines: string[]) => string[]): Promise<void> =>
    exclusive(async () => {
      const before = await readFile(file, 'utf8');
      const lines = change(before.split('\n').filter((line) => line !== ''));
      const after = lines.map((line) => `${line}\n`).join('');
      if (after !== before) await replaceFile(file, after);
    });
  const without = (name: string) => (lines: string[]) => lines.filter((line) => !line.startsWith(`${name}:`));

  return {
    users: async () => parsePasswd(await readFile(passwd, 'utf8')),
    groups: async () => parseGroup(await readFile(group, 'utf8')),
    addGroup: ({ name, gid }) => edit(group, (lines) => [...without(name)(lines), `${name}:x:${gid}:`]),
    addUser: ({ username, uid, gid, home }) =>
      edit(passwd, (lines) => [
        ...without(username)(lines),
        `${username}:x:${uid}:${gid}::${home}:/bin/bash`,
      ]),
    lockUser: (username) =>
      edit(passwd, (lines) =>
        lines.map((line) =>
          line.startsWith(`${username}:`) ? line.replace(/:[^:]*$/, ':/usr/sbin/nologin') : line,
        ),
      ),
    removeUser: (username) => edit(passwd, without(username)),
    removeGroup: (name) => edit(group, without(name)),
  };
}
