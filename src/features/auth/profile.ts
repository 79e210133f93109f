import { sql } from 'drizzle-orm'
import type { Actor, Caller } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../errors.ts'
import { auditStatement, by, differences } from '../audit/entry.ts'
import { userJson } from './accounts.ts'

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
  actor: Caller,
  { full_name }: { full_name?: string },
): Promise<string> {
  const { tenantId, userId } = actor
  const [row] = await db.write(
    { tenantId },
    sql`with target as (
        select * from users where tenant_id = ${tenantId} and id = ${userId}
      ), changed as (
        update users u set full_name = ${full_name ?? null}, updated_at = clock_timestamp() from target t
        where u.tenant_id = t.tenant_id and u.id = t.id and u.full_name <> ${full_name ?? null} returning u.*
      )
      ${auditStatement(
        {
          ...by(actor),
          action: 'user.changed',
          target: { type: 'user', id: userId },
          details: differences('t', 'c', ['full_name']),
        },
        sql`target t, changed c`,
      )}`,
    sql<Body>`select ${userJson('u')}::text as body from users u where tenant_id = ${tenantId} and id = ${userId}`,
  )
  return body(row)
}

function body(row: Body | undefined): string {
  if (!row) throw new AppError('token_revoked', 'This account no longer exists.')
  return row.body
}
