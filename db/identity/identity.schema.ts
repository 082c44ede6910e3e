import { sql } from 'drizzle-orm';
import {
  boolean,
  check,
  index,
  integer,
  pgEnum,
  pgTable,
  primaryKey,
  text,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import { instant } from '../columns.ts';

export const orgs = pgTable('orgs', {
  id: uuid('id').primaryKey(),
  name: text('name').notNull(),
  /** True for the organisation made for a user whose token names none. */
  personal: boolean('personal').notNull(),
  createdAt: instant('created_at').notNull(),
});

/** A person as the issuer knows it: `sub`. Names and mail addresses stay at the issuer. */
export const users = pgTable(
  'users',
  {
    id: uuid('id').primaryKey(),
    orgId: uuid('org_id')
      .notNull()
      .references(() => orgs.id),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [index('users_org_id').on(t.orgId)],
);

/** Stable POSIX identity, the same on every node. */
export const posixIdentities = pgTable(
  'posix_identities',
  {
    userId: uuid('user_id')
      .primaryKey()
      .references(() => users.id),
    username: text('username').notNull().unique(),
    uid: integer('uid').notNull().unique(),
    gid: integer('gid').notNull().unique(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    check('posix_identities_username', sql`${t.username} ~ '^[a-z_][a-z0-9_-]{0,31}$'`),
    check('posix_identities_uid', sql`${t.uid} between 10000 and 199999`),
    check('posix_identities_gid', sql`${t.gid} between 10000 and 199999`),
  ],
);

export const projects = pgTable(
  'projects',
  {
    id: uuid('id').primaryKey(),
    orgId: uuid('org_id')
      .notNull()
      .references(() => orgs.id),
    name: text('name').notNull(),
    displayName: text('display_name').notNull(),
    ownerUserId: uuid('owner_user_id')
      .notNull()
      .references(() => users.id),
    createdAt: instant('created_at').notNull(),
    updatedAt: instant('updated_at').notNull(),
  },
  (t) => [unique('projects_org_id_name').on(t.orgId, t.name)],
);

export const projectRole = pgEnum('project_role', ['owner', 'member']);

export const projectMembers = pgTable(
  'project_members',
  {
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id),
    role: projectRole('role').notNull(),
    addedAt: instant('added_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.projectId, t.userId] }), index('project_members_user_id').on(t.userId)],
);

export const sshKeys = pgTable(
  'ssh_keys',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id),
    name: text('name').notNull(),
    type: text('type').notNull(),
    fingerprint: text('fingerprint').notNull(),
    /** Type and base64 key, no comment. */
    publicKey: text('public_key').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [unique('ssh_keys_user_id_fingerprint').on(t.userId, t.fingerprint)],
);
