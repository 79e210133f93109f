import { type SQL, sql } from 'drizzle-orm'

/**
 * The one condition under which somebody sees a list, over the list `l` and his membership `m` (left joined): a living
 * one that he is a member of, or any of the tenant for its admin.
 */
export const visible = (actor: { role: string }): SQL =>
  sql`l.deleted_at is null and (m.user_id is not null or ${actor.role === 'tenant_admin'}::boolean)`
