import path from 'node:path';
import { parseGroup, parsePasswd } from '../passwd.ts';
import type { Identities } from '../runtime.ts';
import { readText, replaceFile } from './files.ts';

/** `etc/passwd` and `etc/group` below the root. A change is read, made and written in one go: nothing comes between. */
export function createSimulatedIdentities(root: string): Identities {
  const passwd = path.join(root, 'etc/passwd');
  const group = path.join(root, 'etc/group');

  const edit = (file: string, change: (lines: string[]) => string[]): Promise<void> => {
    const before = readText(file) ?? '';
    const lines = change(before.split('\n').filter((line) => line !== ''));
    const after = lines.map((line) => `${line}\n`).join('');
    if (after !== before) replaceFile(file, after);
    return Promise.resolve();
  };
  const without = (name: string) => (lines: string[]) => lines.filter((line) => !line.startsWith(`${name}:`));
  const expelled = (line: string): string => line.replace(/:[^:]*$/, ':/usr/sbin/nologin');

  return {
    users: () => Promise.resolve(parsePasswd(readText(passwd) ?? '')),
    groups: () => Promise.resolve(parseGroup(readText(group) ?? '')),
    addGroup: ({ name, gid }) => edit(group, (lines) => [...without(name)(lines), `${name}:x:${gid}:`]),
    addUser: ({ username, uid, gid, home }) =>
      edit(passwd, (lines) => [
        ...without(username)(lines),
        `${username}:x:${uid}:${gid}::${home}:/bin/bash`,
      ]),
    lockUser: (username) =>
      edit(passwd, (lines) => lines.map((line) => (line.startsWith(`${username}:`) ? expelled(line) : line))),
    removeUser: (username) => edit(passwd, without(username)),
    removeGroup: (name) => edit(group, without(name)),
  };
}
