import { type SQL, sql } from 'drizzle-orm'

/**
 * Whether the actor can see the list `l`, over their membership `m` (left joined): the only place that decides it.
 * Members see their lists, an admin every list of the tenant; nobody sees deleted ones.
 */
export const visible = (actor: { role: string }): SQL =>
  sql`l.deleted_at is null and (m.user_id is not null or ${actor.role === 'tenant_admin'}::boolean)`
