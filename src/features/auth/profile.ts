import { sql } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { userJson } from '../../db/wire.ts'
import { AppError } from '../../errors.ts'
import type { Actor } from './actor.ts'

interface Body {
  body: string
}

/** The caller as JSON text. */
export async function getProfile(db: Database, { tenantId, userId }: Actor): Promise<string> {
  const [row] = await db.read(
    { tenantId },
    sql<Body>`select ${userJson('u')}::text as body from users u where tenant_id = ${tenantId} and id = ${userId}`,
  )
  return body(row)
}

/** A change that changes nothing leaves `updated_at` as it was. */
export async function changeProfile(
  db: Database,
  { tenantId, userId }: Actor,
  { full_name }: { full_name?: string },
): Promise<string> {
  const [row] = await db.write(
    { tenantId },
    sql`update users set full_name = ${full_name ?? null}, updated_at = clock_timestamp()
      where tenant_id = ${tenantId} and id = ${userId} and full_name <> ${full_name ?? null}`,
    sql<Body>`select ${userJson('u')}::text as body from users u where tenant_id = ${tenantId} and id = ${userId}`,
  )
  return body(row)
}

function body(row: Body | undefined): string {
  if (!row) throw new AppError('token_revoked', 'This account no longer exists.')
  return row.body
}
