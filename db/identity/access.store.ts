import { and, eq, sql } from 'drizzle-orm';
import type { Queryable, Tx } from '../client.ts';
import { posixIdentities, projectMembers, sshKeys } from '../schema.ts';

/** Locks the user's row until the transaction ends, so that two admissions of one user follow each other. */
export async function lockUser(tx: Tx, userId: string): Promise<void> {
  await tx.execute(sql`select 1 from users where id = ${userId} for no key update`);
}

export async function isProjectMember(q: Queryable, projectId: string, userId: string): Promise<boolean> {
  const found = await q
    .select({ userId: projectMembers.userId })
    .from(projectMembers)
    .where(and(eq(projectMembers.projectId, projectId), eq(projectMembers.userId, userId)));
  return found.length > 0;
}

/** POSIX identity and public keys of a user: what a node needs to let them in. */
export async function accessOf(q: Queryable, userId: string) {
  const [posix] = await q.select().from(posixIdentities).where(eq(posixIdentities.userId, userId));
  if (posix === undefined) throw new Error(`user ${userId} has no POSIX identity`);
  const keys = await q
    .select({ line: sshKeys.publicKey })
    .from(sshKeys)
    .where(eq(sshKeys.userId, userId))
    .orderBy(sshKeys.createdAt);
  return {
    username: posix.username,
    uid: posix.uid,
    gid: posix.gid,
    authorizedKeys: keys.map((key) => key.line),
  };
}
