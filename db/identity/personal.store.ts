import { eq, like, or, sql } from 'drizzle-orm';
import { uuid5 } from '../../contracts/uuid5.ts';
import type { Database, Tx } from '../client.ts';
import { now } from '../clock.ts';
import { orgs, posixIdentities, projectMembers, projects, users } from '../schema.ts';

/** What the records of a user are made from. */
export interface PersonalClaims {
  readonly userId: string;
  /** The organisation that the token names; null for a user of none. */
  readonly orgId: string | null;
  readonly preferredUsername: string | null;
}

/** Where a user belongs. */
export interface PersonalIdentity {
  readonly orgId: string;
  /** True when the organisation was made for this user alone. */
  readonly personalOrg: boolean;
}

/** The organisation of a user whose token names none. */
export const personalOrgId = (userId: string): string => uuid5('org', userId);

/** The id of a user's default project. */
export const defaultProjectId = (userId: string): string => uuid5('default-project', userId);

/**
 * The name of a user's default project: `default-` and the whole user id, so that no two users of an organisation meet.
 * Names of this form are reserved.
 */
export const defaultProjectName = (userId: string): string => `default-${userId}`;

/**
 * Makes organisation, user, POSIX identity and default project of a user, in one transaction; what is there stays as it
 * is. Safe to run any number of times at once.
 * @returns where the user belongs, which may be another organisation than the claims name.
 */
export async function ensurePersonal(db: Database, claims: PersonalClaims): Promise<PersonalIdentity> {
  return await db.tx(async (tx) => {
    const known = await readIdentity(tx, claims.userId);
    return known ?? (await createPersonal(tx, claims));
  });
}

async function readIdentity(tx: Tx, userId: string): Promise<PersonalIdentity | undefined> {
  const [row] = await tx
    .select({ orgId: users.orgId, personalOrg: orgs.personal })
    .from(users)
    .innerJoin(orgs, eq(orgs.id, users.orgId))
    .where(eq(users.id, userId));
  return row;
}

async function createPersonal(tx: Tx, claims: PersonalClaims): Promise<PersonalIdentity> {
  const { userId } = claims;
  const orgId = claims.orgId ?? personalOrgId(userId);
  const personalOrg = claims.orgId === null;
  // Names of people and companies stay at the issuer: an organisation is called by its id.
  const org = { id: orgId, name: `${personalOrg ? 'personal' : 'org'}-${orgId}`, personal: personalOrg };
  await tx
    .insert(orgs)
    .values({ ...org, createdAt: now })
    .onConflictDoNothing();
  const made = await tx
    .insert(users)
    .values({ id: userId, orgId, createdAt: now })
    .onConflictDoNothing()
    .returning();
  if (made.length === 0) {
    // A twin was faster; the insert waited for its commit, so everything is there.
    const known = await readIdentity(tx, userId);
    if (known === undefined) throw new Error('a user vanished while being made');
    return known;
  }
  await createPosixIdentity(tx, userId, claims.preferredUsername);
  const projectId = defaultProjectId(userId);
  await tx.insert(projects).values({
    id: projectId,
    orgId,
    name: defaultProjectName(userId),
    displayName: 'Default project',
    ownerUserId: userId,
    createdAt: now,
    updatedAt: now,
  });
  await tx.insert(projectMembers).values({ projectId, userId, role: 'owner', addedAt: now });
  return { orgId, personalOrg };
}

const maxNameLength = 32;
const maxBaseLength = 24;
const maxNameAttempts = 20;
/** Accounts that a node may have of its own. */
const reservedNames =
  /^(root|daemon|bin|sys|sync|games|man|lp|mail|news|uucp|proxy|www-data|backup|list|irc|gnats|nobody|nogroup|sshd|ubuntu|debian|admin|adm|sudo|wheel|staff|users|operator|postgres|redis|nats|docker|messagebus|ntp|chrony|tss|uuidd|munge|slurm|ray|temporal|gpuaas.*|systemd.*|_.*)$/;

/** A legal POSIX name that resembles what the issuer calls the user. */
export function posixNameFor(preferredUsername: string | null): string {
  const plain = (preferredUsername ?? '')
    .normalize('NFKD')
    .toLowerCase()
    .replace(/@.*$/, '')
    .replace(/[^a-z0-9_-]+/g, '')
    .replace(/^[^a-z]+/, '')
    .slice(0, maxBaseLength);
  if (plain === '') return 'user';
  return reservedNames.test(plain) ? `u-${plain}` : plain;
}

async function createPosixIdentity(tx: Tx, userId: string, preferredUsername: string | null): Promise<void> {
  const base = posixNameFor(preferredUsername);
  const taken = await tx
    .select({ username: posixIdentities.username })
    .from(posixIdentities)
    .where(
      or(
        eq(posixIdentities.username, base),
        like(posixIdentities.username, `${base.replace(/_/g, '\\_')}-%`),
      ),
    );
  const names = new Set(taken.map((row) => row.username));
  let suffix = 1;
  for (let attempt = 0; attempt < maxNameAttempts; attempt += 1) {
    while (names.has(nameWith(base, suffix))) suffix += 1;
    const username = nameWith(base, suffix);
    const made = await tx.execute(sql`
      with id as materialized (select nextval('posix_ids')::int as n)
      insert into posix_identities (user_id, username, uid, gid, created_at)
      select ${userId}::uuid, ${username}::text, id.n, id.n, ${now} from id
      on conflict (username) do nothing`);
    if (made.rowCount === 1) return;
    names.add(username);
  }
  throw new Error('no POSIX name is free');
}

const nameWith = (base: string, suffix: number): string =>
  (suffix === 1 ? base : `${base}-${suffix}`).slice(0, maxNameLength);
