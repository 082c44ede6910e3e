import type { Tx } from '../client.ts';
import { statement } from '../statement.ts';

/** Locks the user's row until the transaction ends, so that two admissions of one user follow each other. */
export async function lockUser(tx: Tx, userId: string): Promise<void> {
  await lockStatement(tx, { id: userId });
}

const lockStatement = statement<{ id: string }, object>(
  'user-lock',
  'select 1 from users where id = :id::uuid for no key update',
);
