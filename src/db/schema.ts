/**
 * The tables. Every tenant table has tenant_id first in its primary key and in every foreign key, so that a row cannot
 * point into another tenant and the tables can be partitioned by tenant. Row-level security, roles and functions are in
 * the hand-written parts of migrations.
 *
 * A change here takes a migration, up and down (README, "Changing the schema"). A new column also goes into
 * archive/format.ts, a new table there too, into the row-level security of its migration, and into the rights of the
 * service's role (migrations/role.ts).
 */
import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  customType,
  foreignKey,
  index,
  integer,
  jsonb,
  numeric,
  pgTable,
  primaryKey,
  text,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'

/** The tenant of the super admins: not a customer, and left out of the list of tenants. */
export const platformTenantId = '00000000-0000-7000-8000-000000000000'

/** Sorted by bytes, whatever the database's locale, as fractional-index keys must be. */
const byteOrderedText = customType<{ data: string }>({ dataType: () => 'text collate "C"' })

const bytes = customType<{ data: string }>({ dataType: () => 'bytea' })

const moment = <const Name extends string>(name: Name) =>
  timestamp(name, { withTimezone: true, precision: 3, mode: 'string' })
/** Text, since it has 64 bits. */
const transactionId = customType<{ data: string }>({ dataType: () => 'xid8' })
const createdAt = () => moment('created_at').notNull().default(sql`clock_timestamp()`)
const updatedAt = () => moment('updated_at').notNull().default(sql`clock_timestamp()`)

export const tenants = pgTable(
  'tenants',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull(),
    slug: text('slug').notNull().unique('tenants_slug_key'),
    isActive: boolean('is_active').notNull().default(true),
    /** Incremented when the tenant is deactivated: sessions and access tokens of an earlier epoch are invalid. */
    epoch: integer('epoch').notNull().default(0),
    /** Of the text of its lists, items and events, as of the last count (housekeeping/kept-bytes.ts). */
    keptBytes: bigint('kept_bytes', { mode: 'number' }).notNull().default(0),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  // The platform's list of tenants, newest first, pages by this key.
  (table) => [index('tenants_newest').on(table.createdAt, table.id)],
)

export const users = pgTable(
  'users',
  {
    tenantId: uuid('tenant_id')
      .notNull()
      .references(() => tenants.id),
    id: uuid('id').notNull(),
    email: text('email').notNull(),
    fullName: text('full_name').notNull(),
    role: text('role', { enum: ['super_admin', 'tenant_admin', 'member'] }).notNull(),
    passwordHash: text('password_hash').notNull(),
    isActive: boolean('is_active').notNull().default(true),
    emailVerified: boolean('email_verified').notNull().default(false),
    /** Access tokens of an earlier epoch are revoked. A change of role increments only this epoch. */
    tokenEpoch: integer('token_epoch').notNull().default(0),
    /** Sessions of an earlier epoch are invalid, even if the store still has them. */
    sessionEpoch: integer('session_epoch').notNull().default(0),
    /** When the tenant's admins were notified that this account is removed unless its address is verified. */
    removalAnnouncedAt: moment('removal_announced_at'),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (table) => [
    primaryKey({ name: 'users_pkey', columns: [table.tenantId, table.id] }),
    // Migration 0010 has the rest of the rule: whoever is not verified holds no address against its owner.
    uniqueIndex('users_verified_email_key').on(table.email).where(sql`${table.emailVerified}`),
    uniqueIndex('users_tenant_email_key').on(table.email, table.tenantId),
    check('users_role_check', sql`${table.role} in ('super_admin', 'tenant_admin', 'member')`),
    // GET /users pages by this key.
    index('users_newest').on(table.tenantId, table.createdAt, table.id),
    // Housekeeping scans the users whose address was never verified.
    index('users_unverified').on(table.createdAt).where(sql`not ${table.emailVerified}`),
  ],
)

export const shoppingLists = pgTable(
  'shopping_lists',
  {
    tenantId: uuid('tenant_id')
      .notNull()
      .references(() => tenants.id),
    id: uuid('id').notNull(),
    name: text('name').notNull(),
    description: text('description'),
    ownerId: uuid('owner_id').notNull(),
    /** Who sent the POST that created it, so that a repeated POST is recognised after a change of owner. */
    createdBy: uuid('created_by').notNull(),
    /** The seq of the list's last event. */
    seq: bigint('seq', { mode: 'number' }).notNull().default(0),
    /** The mark of event `mark_seq`: of the last one, unless a release wrote it that does not know these columns. */
    mark: text('mark'),
    markSeq: bigint('mark_seq', { mode: 'number' }),
    version: integer('version').notNull().default(1),
    /** Items that are not deleted; maintained by features/list-changes/change.ts, under the row's lock. */
    itemCount: integer('item_count').notNull().default(0),
    pendingCount: integer('pending_count').notNull().default(0),
    /** Of these items' text, as of event `text_seq`: the last one, unless a release wrote it that does not count. */
    textBytes: bigint('text_bytes', { mode: 'number' }),
    textSeq: bigint('text_seq', { mode: 'number' }),
    /** Of the payloads of the events kept, up to `counted_seq` (-1: never); counted in the background. */
    eventBytes: bigint('event_bytes', { mode: 'number' }).notNull().default(0),
    countedSeq: bigint('counted_seq', { mode: 'number' }).notNull().default(-1),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
    deletedAt: moment('deleted_at'),
  },
  (table) => [
    primaryKey({ name: 'shopping_lists_pkey', columns: [table.tenantId, table.id] }),
    foreignKey({
      name: 'shopping_lists_owner_fkey',
      columns: [table.tenantId, table.ownerId],
      foreignColumns: [users.tenantId, users.id],
    }),
    foreignKey({
      name: 'shopping_lists_creator_fkey',
      columns: [table.tenantId, table.createdBy],
      foreignColumns: [users.tenantId, users.id],
    }),
    // A tenant admin's ?scope=all, most recently changed first.
    index('shopping_lists_recent').on(table.tenantId, table.updatedAt, table.id),
    // What has changed since the last count, whoever changed it.
    index('shopping_lists_uncounted')
      .on(table.tenantId, table.id)
      .where(sql`${table.countedSeq} <> ${table.seq}`),
  ],
)

export const listMembers = pgTable(
  'list_members',
  {
    tenantId: uuid('tenant_id').notNull(),
    listId: uuid('list_id').notNull(),
    userId: uuid('user_id').notNull(),
    role: text('role', { enum: ['owner', 'editor', 'viewer'] }).notNull(),
    joinedAt: moment('joined_at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    primaryKey({ name: 'list_members_pkey', columns: [table.tenantId, table.listId, table.userId] }),
    foreignKey({
      name: 'list_members_list_fkey',
      columns: [table.tenantId, table.listId],
      foreignColumns: [shoppingLists.tenantId, shoppingLists.id],
    }),
    foreignKey({
      name: 'list_members_user_fkey',
      columns: [table.tenantId, table.userId],
      foreignColumns: [users.tenantId, users.id],
    }),
    check('list_members_role_check', sql`${table.role} in ('owner', 'editor', 'viewer')`),
    // "My lists" starts from the user.
    index('list_members_user').on(table.tenantId, table.userId, table.listId),
  ],
)

export const items = pgTable(
  'items',
  {
    tenantId: uuid('tenant_id').notNull(),
    id: uuid('id').notNull(),
    listId: uuid('list_id').notNull(),
    name: text('name').notNull(),
    quantity: numeric('quantity', { precision: 10, scale: 3 }).notNull().default('1'),
    unit: text('unit'),
    note: text('note'),
    category: text('category'),
    status: text('status', { enum: ['pending', 'purchased'] })
      .notNull()
      .default('pending'),
    /** Fractional-index key. */
    position: byteOrderedText('position').notNull(),
    addedBy: uuid('added_by').notNull(),
    updatedBy: uuid('updated_by').notNull(),
    purchasedBy: uuid('purchased_by'),
    purchasedAt: moment('purchased_at'),
    version: integer('version').notNull().default(1),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
    /** Deleted items stay a while, so that a late retry of their POST gets `id_deleted`. */
    deletedAt: moment('deleted_at'),
  },
  (table) => [
    primaryKey({ name: 'items_pkey', columns: [table.tenantId, table.id] }),
    foreignKey({
      name: 'items_list_fkey',
      columns: [table.tenantId, table.listId],
      foreignColumns: [shoppingLists.tenantId, shoppingLists.id],
    }),
    foreignKey({
      name: 'items_added_by_fkey',
      columns: [table.tenantId, table.addedBy],
      foreignColumns: [users.tenantId, users.id],
    }),
    check('items_status_check', sql`${table.status} in ('pending', 'purchased')`),
    check('items_quantity_check', sql`${table.quantity} > 0 and ${table.quantity} <= 1000000`),
    // A list's items in list order, and its last position.
    index('items_in_list_order')
      .on(table.tenantId, table.listId, table.position, table.id)
      .where(sql`${table.deletedAt} is null`),
    // The next to be cleared away.
    index('items_deleted').on(table.deletedAt).where(sql`${table.deletedAt} is not null`),
  ],
)

export const listEvents = pgTable(
  'list_events',
  {
    tenantId: uuid('tenant_id').notNull(),
    listId: uuid('list_id').notNull(),
    seq: bigint('seq', { mode: 'number' }).notNull(),
    type: text('type').notNull(),
    payload: jsonb('payload').notNull(),
    actorId: uuid('actor_id').notNull(),
    /** Shared by the events of one request; null before there were action ids. */
    actionId: uuid('action_id').default(sql`gen_random_uuid()`),
    at: moment('at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    primaryKey({ name: 'list_events_pkey', columns: [table.tenantId, table.listId, table.seq] }),
    foreignKey({
      name: 'list_events_list_fkey',
      columns: [table.tenantId, table.listId],
      foreignColumns: [shoppingLists.tenantId, shoppingLists.id],
    }),
    // Housekeeping deletes the oldest first.
    index('list_events_oldest').on(table.at),
  ],
)

/** Calls that changed a list under an `Idempotency-Key`, so that their repeats are recognised. */
export const keyedCalls = pgTable(
  'keyed_calls',
  {
    tenantId: uuid('tenant_id').notNull(),
    key: uuid('key').notNull(),
    userId: uuid('user_id').notNull(),
    method: text('method').notNull(),
    path: text('path').notNull(),
    /** SHA-256 in hex. */
    bodyHash: text('body_hash').notNull(),
    listId: uuid('list_id').notNull(),
    /** The items it added or deleted, or the list it made. */
    subjects: uuid('subjects').array().notNull(),
    at: moment('at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    // By key first: whether somebody else has used one is asked too.
    primaryKey({ name: 'keyed_calls_pkey', columns: [table.tenantId, table.key, table.userId] }),
    foreignKey({
      name: 'keyed_calls_list_fkey',
      columns: [table.tenantId, table.listId],
      foreignColumns: [shoppingLists.tenantId, shoppingLists.id],
    }),
    foreignKey({
      name: 'keyed_calls_user_fkey',
      columns: [table.tenantId, table.userId],
      foreignColumns: [users.tenantId, users.id],
    }),
    // Housekeeping deletes the oldest first.
    index('keyed_calls_oldest').on(table.at),
  ],
)

/**
 * Who did what, for the tenant's admins; the platform's own actions are under its own tenant. The application may only
 * insert and read entries: they are deleted by the functions delete_audit_entries and delete_audit_refusals alone. No foreign key to users, since
 * an entry outlives the users it names.
 */
export const auditLog = pgTable(
  'audit_log',
  {
    tenantId: uuid('tenant_id')
      .notNull()
      .references(() => tenants.id),
    id: uuid('id').notNull(),
    at: moment('at').notNull().default(sql`clock_timestamp()`),
    action: text('action').notNull(),
    /** Null for an unauthenticated caller. */
    actorId: uuid('actor_id'),
    /** Their role at that time. */
    actorRole: text('actor_role'),
    targetType: text('target_type'),
    targetId: uuid('target_id'),
    details: jsonb('details').notNull().default({}),
    /** Null for actions of the service or its operator. */
    address: text('address'),
    requestId: text('request_id'),
  },
  (table) => [
    primaryKey({ name: 'audit_log_pkey', columns: [table.tenantId, table.id] }),
    // GET /audit pages by this key.
    index('audit_log_newest').on(table.tenantId, table.at, table.id),
    // Housekeeping deletes the oldest first, and refusals sooner.
    index('audit_log_oldest').on(table.at),
    index('audit_log_refusals').on(table.at).where(sql`${table.action} like '%\\_failed'`),
  ],
)

/**
 * Refusals of sign-in, codes and passwords that have no entry of their own in the audit trail: those for addresses of
 * nobody, by address block and reason, and those for one account past the first of an hour. Like the trail, they are
 * deleted by housekeeping alone, through the function delete_audit_refusals.
 */
export const refusalCounts = pgTable(
  'refusal_counts',
  {
    tenantId: uuid('tenant_id')
      .notNull()
      .references(() => tenants.id),
    /** Of the entry as which GET /audit shows it. */
    id: uuid('id').notNull(),
    /** The hour that is counted, by its beginning. */
    hour: moment('hour').notNull(),
    /** A user's id, or an address block where there is no such user. */
    subject: text('subject').notNull(),
    action: text('action').notNull(),
    /** The error's code; empty for an account, whose refusals are counted together. */
    reason: text('reason').notNull(),
    count: integer('count').notNull(),
    /** Whether it is shown: not for an account whose refusals have entries of their own. */
    listed: boolean('listed').notNull(),
    lastAt: moment('last_at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    primaryKey({ name: 'refusal_counts_pkey', columns: [table.tenantId, table.id] }),
    unique('refusal_counts_key').on(table.tenantId, table.hour, table.subject, table.action, table.reason),
    // GET /audit pages by this key.
    index('refusal_counts_newest').on(table.tenantId, table.hour, table.id).where(sql`${table.listed}`),
    // Housekeeping deletes the oldest first.
    index('refusal_counts_oldest').on(table.hour),
  ],
)

/**
 * Access tokens that are revoked before they expire, by session, user or tenant. A row must outlive the refresh tokens
 * issued before it. In the database, not in Redis, so that losing Redis' state never revives a revoked token.
 */
export const revocations = pgTable(
  'revocations',
  {
    tenantId: uuid('tenant_id')
      .notNull()
      .references(() => tenants.id),
    /**
     * A session's, user's or tenant's id. Also an invitation's, as the release before wrote it and reads it; once that
     * is gone, they are in `spent_invitations` alone.
     */
    subject: uuid('subject').notNull(),
    /** Tokens with an epoch below this one are revoked. */
    minimumEpoch: integer('minimum_epoch').notNull(),
    /** The one session that is exempt: the one in which the password was changed. */
    sparedSession: uuid('spared_session'),
    /** Its tokens are exempt from this epoch on; those revoked earlier, for another reason, stay revoked. */
    sparedEpoch: integer('spared_epoch'),
    at: moment('at').notNull().default(sql`clock_timestamp()`),
    /** Which transaction last wrote it; set by a trigger. Null: before there was this column. */
    transactionId: transactionId('transaction_id'),
  },
  (table) => [
    primaryKey({ name: 'revocations_pkey', columns: [table.tenantId, table.subject] }),
    // An instance that starts reads those still in force; housekeeping deletes the oldest first.
    index('revocations_newest').on(table.at),
    // Every instance polls for those of transactions it has not seen, twice a second.
    index('revocations_unseen').on(table.transactionId),
  ],
)

/** Invitations that were accepted or rejected. A row must outlive the invitation. In the database for the same reason. */
export const spentInvitations = pgTable(
  'spent_invitations',
  {
    tenantId: uuid('tenant_id')
      .notNull()
      .references(() => tenants.id),
    invitationId: uuid('invitation_id').notNull(),
    at: moment('at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    primaryKey({ name: 'spent_invitations_pkey', columns: [table.tenantId, table.invitationId] }),
    // Housekeeping deletes the oldest first.
    index('spent_invitations_oldest').on(table.at),
  ],
)

/** The store's entries where there is no Redis: opaque keys, no tenant's data. */
export const storeEntries = pgTable(
  'store_entries',
  {
    key: text('key').primaryKey(),
    value: text('value').notNull(),
    expiresAt: moment('expires_at').notNull(),
  },
  (table) => [index('store_entries_expiry').on(table.expiresAt)],
)

/** One row about the database as a whole. It belongs to no tenant, so an archive has none of it. */
export const installation = pgTable(
  'installation',
  {
    singleton: boolean('singleton').primaryKey().default(true),
    /** Drawn at random when the database was set up. A copy has the same one. */
    id: uuid('id').notNull().default(sql`gen_random_uuid()`),
    /** The database's name when an earlier release's database was upgraded; null in one that was made since. */
    upgradedAs: text('upgraded_as'),
    /** See db/migrations/shared-role.ts. Null once that role has no rights here. */
    sharedRoleSeenAt: moment('shared_role_seen_at'),
  },
  (table) => [check('installation_singleton_check', sql`${table.singleton}`)],
)

/**
 * Mails that wait to be sent, and decoys for addresses that get none (mail/outbox.ts). A row is deleted once its mail is
 * sent or given up; the function mail_outbox_room bounds their number.
 */
export const mailOutbox = pgTable(
  'mail_outbox',
  {
    /** Who caused it: the platform's tenant for callers who are not signed in, whoever the mail is for. */
    tenantId: uuid('tenant_id')
      .notNull()
      .references(() => tenants.id),
    id: uuid('id').notNull(),
    /** Encrypted (mail/sealing.ts). */
    sealed: bytes('sealed').notNull(),
    attempts: integer('attempts').notNull().default(0),
    /** When to attempt it next. Whoever attempts it has moved this ahead, and goes on doing so meanwhile. */
    dueAt: moment('due_at').notNull().default(sql`clock_timestamp()`),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ name: 'mail_outbox_pkey', columns: [table.tenantId, table.id] }),
    index('mail_outbox_due').on(table.dueAt),
  ],
)
