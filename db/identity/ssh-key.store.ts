import { randomUUID } from 'node:crypto';
import { and, desc, eq, sql } from 'drizzle-orm';
import { CodedError } from '../../contracts/errors.ts';
import { violatedConstraint, type Queryable, type Tx } from '../client.ts';
import { now } from '../clock.ts';
import { sshKeys, users } from '../schema.ts';
import { lockUser } from './access.store.ts';

export interface SshKeyView {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly fingerprint: string;
  readonly public_key: string;
  readonly created_at: string;
}

export interface NewSshKey {
  readonly userId: string;
  readonly name: string;
  readonly type: string;
  readonly fingerprint: string;
  /** Type and base64 key, no comment. */
  readonly publicKey: string;
}

const sshKeyView = (row: typeof sshKeys.$inferSelect): SshKeyView => ({
  id: row.id,
  name: row.name,
  type: row.type,
  fingerprint: row.fingerprint,
  public_key: row.publicKey,
  created_at: row.createdAt.toISOString(),
});

/** How many keys a user has. Until the transaction ends nobody else can learn it this way, so none is added unseen. */
export async function lockedKeyCount(tx: Tx, userId: string): Promise<number> {
  await lockUser(tx, userId);
  return await tx.$count(sshKeys, eq(sshKeys.userId, userId));
}

/** Registers a key. @throws CodedError ssh_key_already_exists. */
export async function insertSshKey(tx: Tx, key: NewSshKey): Promise<SshKeyView> {
  try {
    const [row] = await tx
      .insert(sshKeys)
      .values({ id: randomUUID(), ...key, createdAt: now })
      .returning();
    if (row === undefined) throw new Error('the key was not written');
    return sshKeyView(row);
  } catch (error) {
    if (violatedConstraint(error) === 'ssh_keys_user_id_fingerprint')
      throw new CodedError('ssh_key_already_exists');
    throw error;
  }
}

/**
 * Deletes a key of a user.
 * @throws CodedError ssh_key_not_found (another organisation's too), or ownership_required for a colleague's.
 */
export async function deleteSshKeyOf(
  tx: Tx,
  owner: { readonly userId: string; readonly orgId: string },
  id: string,
): Promise<void> {
  const gone = await tx
    .delete(sshKeys)
    .where(and(eq(sshKeys.id, id), eq(sshKeys.userId, owner.userId)))
    .returning();
  if (gone.length > 0) return;
  const [colleagues] = await tx
    .select({ id: sshKeys.id })
    .from(sshKeys)
    .innerJoin(users, eq(users.id, sshKeys.userId))
    .where(and(eq(sshKeys.id, id), eq(users.orgId, owner.orgId)));
  throw new CodedError(colleagues === undefined ? 'ssh_key_not_found' : 'ownership_required');
}

/** A user's keys, newest first; one more than `limit` when there are more. */
export async function listSshKeyViews(
  q: Queryable,
  userId: string,
  after: { readonly createdAt: Date; readonly id: string } | undefined,
  limit: number,
): Promise<SshKeyView[]> {
  const older =
    after === undefined
      ? undefined
      : sql`(${sshKeys.createdAt}, ${sshKeys.id}) < (${after.createdAt.toISOString()}::timestamptz, ${after.id}::uuid)`;
  const rows = await q
    .select()
    .from(sshKeys)
    .where(and(eq(sshKeys.userId, userId), older))
    .orderBy(desc(sshKeys.createdAt), desc(sshKeys.id))
    .limit(limit + 1);
  return rows.map(sshKeyView);
}
