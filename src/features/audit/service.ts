/** Reads the audit trail; entry.ts writes it. */
import { type SQL, sql } from 'drizzle-orm'
import type { Actor } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { auditLog } from '../../db/schema.ts'
import { rowJson, wireColumns } from '../../db/wire-json.ts'
import { type Cursors, openPage, type PageRow } from '../../lib/cursor.ts'
import type { AuditQuery } from './model.ts'

export interface AuditDeps {
  db: Database
  cursors: Cursors
}

/** A page of the trail of the actor's tenant, newest first, as JSON text; for a super admin, the platform's. */
export async function listAudit(
  { db, cursors }: AuditDeps,
  actor: Actor,
  query: AuditQuery,
): Promise<string> {
  const { action = null, actor_id: actorId = null, target_id: targetId = null } = query
  const [from, to] = [instant(query.from), instant(query.to)]
  const page = openPage(cursors, ['audit', actor.tenantId, action, actorId, targetId, from, to], query)
  const [at = null, id = null] = page.after
  const rows = await db.read(
    actor,
    sql<PageRow>`
      select ${auditJson('e', 'u')}::text as body, json_build_array(wire_time(e.at), e.id)::text as key
      from audit_log e left join users u on u.tenant_id = e.tenant_id and u.id = e.actor_id
      where e.tenant_id = ${actor.tenantId}
        and (${action}::text is null or e.action = ${action}::text)
        and (${actorId}::uuid is null or e.actor_id = ${actorId}::uuid)
        and (${targetId}::uuid is null or e.target_id = ${targetId}::uuid)
        and (${from}::timestamptz is null or e.at >= ${from}::timestamptz)
        and (${to}::timestamptz is null or e.at < ${to}::timestamptz)
        and (${at}::timestamptz is null or (e.at, e.id) < (${at}::timestamptz, ${id}::uuid))
      order by e.at desc, e.id desc limit ${page.fetch}::int`,
  )
  return page.answer(rows)
}

/** In the one form that the database reads without ambiguity. */
const instant = (time: string | undefined): string | null =>
  time === undefined ? null : new Date(time).toISOString()

/** @param e an entry of the audit trail @param u its actor's user, or nulls */
const auditJson = (e: string, u: string): SQL =>
  rowJson(sql`${wireColumns(auditLog, e, 'id', 'at', 'action', 'actorId', 'actorRole')}, ${sql.raw(u)}.email as actor_email,
    ${wireColumns(auditLog, e, 'targetType', 'targetId', 'details', 'address', 'requestId')}`)
