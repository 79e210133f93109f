/** What access leaves behind: the audit trail, tokens that are dead before their time, and short-lived state. */

import { sql } from 'drizzle-orm'
import { index, integer, jsonb, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import { moment, tenants } from './schema.ts'

/**
 * Who did what, for the tenant's admins; what the platform does stands under its own tenant. The application may add
 * entries and read them, and do nothing else: old ones go through the function delete_audit_entries alone.
 * Without a foreign key to users, for an entry outlives the people it speaks of.
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
    /** Null where nobody was signed in. */
    actorId: uuid('actor_id'),
    /** As it was at that time. */
    actorRole: text('actor_role'),
    targetType: text('target_type'),
    targetId: uuid('target_id'),
    details: jsonb('details').notNull().default({}),
    /** Null for what the service or its operator did. */
    address: text('address'),
    requestId: text('request_id'),
  },
  (table) => [
    primaryKey({ name: 'audit_log_pkey', columns: [table.tenantId, table.id] }),
    // GET /audit pages by this key.
    index('audit_log_newest').on(table.tenantId, table.at, table.id),
    // Housekeeping deletes the oldest first.
    index('audit_log_oldest').on(table.at),
  ],
)

/**
 * Tokens that must not be honoured any more although they have not expired: access tokens by session, user or tenant,
 * invitations by their id. A row must outlive the refresh tokens and invitations of its time.
 * Kept in the database, not in Redis, so that state lost from Redis never brings a revoked token back to life.
 */
export const revocations = pgTable(
  'revocations',
  {
    tenantId: uuid('tenant_id')
      .notNull()
      .references(() => tenants.id),
    /** A session's, user's, tenant's or invitation's id. */
    subject: uuid('subject').notNull(),
    /** Tokens with an epoch below this one are revoked. */
    minimumEpoch: integer('minimum_epoch').notNull(),
    /** The one session whose tokens stay good all the same: where a password was changed. */
    sparedSession: uuid('spared_session'),
    /** That session's tokens are spared from this epoch on: what was revoked before, for another reason, stays so. */
    sparedEpoch: integer('spared_epoch'),
    at: moment('at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    primaryKey({ name: 'revocations_pkey', columns: [table.tenantId, table.subject] }),
    // Every instance reads the newest ones twice a second.
    index('revocations_newest').on(table.at),
  ],
)

/** The store's table where there is no Redis: opaque keys, no tenant's data. */
export const storeEntries = pgTable(
  'store_entries',
  {
    key: text('key').primaryKey(),
    value: text('value').notNull(),
    expiresAt: moment('expires_at').notNull(),
  },
  (table) => [index('store_entries_expiry').on(table.expiresAt)],
)
