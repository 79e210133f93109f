/** Reads the audit trail; entry.ts writes it. */
import { type SQL, sql } from 'drizzle-orm'
import type { Actor } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { auditLog } from '../../db/schema.ts'
import { rowJson, wireColumns } from '../../db/wire-json.ts'
import { type Cursors, openPage, type PageRow } from '../../lib/cursor.ts'
import { uuidPattern } from '../../lib/patterns.ts'
import { countedForAccount, listedPerHour } from './entry.ts'
import type { AuditQuery } from './model.ts'

/** An import may bring any subject. */
const isOfAccount: SQL = sql.raw(
  `(e.action = '${countedForAccount}' and e.subject ~ '${uuidPattern.source}')`,
)

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
  /** The page's share of the rows `e`, as those of one table. */
  const selected = (time: SQL, isTarget: SQL): SQL => sql`
    e.tenant_id = ${actor.tenantId}
      and (${action}::text is null or e.action = ${action}::text)
      and (${targetId}::uuid is null or ${isTarget})
      and (${from}::timestamptz is null or ${time} >= ${from}::timestamptz)
      and (${to}::timestamptz is null or ${time} < ${to}::timestamptz)
      and (${at}::timestamptz is null or (${time}, e.id) < (${at}::timestamptz, ${id}::uuid))
    order by ${time} desc, e.id desc limit ${page.fetch}::int`
  const rows = await db.read(
    actor,
    sql<PageRow>`
      select ${auditJson('e', 'u')}::text as body, json_build_array(wire_time(e.at), e.id)::text as key
      from (
        (select e.tenant_id, ${columns} from audit_log e
          where (${actorId}::uuid is null or e.actor_id = ${actorId}::uuid)
            and ${selected(sql`e.at`, sql`e.target_id = ${targetId}::uuid`)})
        union all
        (select e.tenant_id, e.id, e.hour, e.action, null, null, ${countedAs} from refusal_counts e
          where e.listed and ${actorId}::uuid is null and ${selected(sql`e.hour`, sql`e.subject = ${targetId}::uuid::text`)})
      ) e left join users u on u.tenant_id = e.tenant_id and u.id = e.actor_id
      order by e.at desc, e.id desc limit ${page.fetch}::int`,
  )
  return page.answer(rows)
}

const columns: SQL = sql.raw(
  'e.id, e.at, e.action, e.actor_id, e.actor_role, e.target_type, e.target_id, e.details, e.address, e.request_id',
)

/** What a count says beside its action: target, details, address and request id. */
const countedAs: SQL = sql`
  case when ${isOfAccount} then 'user' end, case when ${isOfAccount} then e.subject::uuid end,
  case when ${isOfAccount} then jsonb_build_object('count', e.count - ${listedPerHour}::int, 'last_at', wire_time(e.last_at))
    else jsonb_build_object('reason', e.reason, 'count', e.count, 'last_at', wire_time(e.last_at)) end,
  case when not ${isOfAccount} then e.subject end, null`

/** In the one form that the database reads without ambiguity. */
const instant = (time: string | undefined): string | null =>
  time === undefined ? null : new Date(time).toISOString()

/** @param e an entry of the audit trail @param u its actor's user, or nulls */
const auditJson = (e: string, u: string): SQL =>
  rowJson(sql`${wireColumns(auditLog, e, 'id', 'at', 'action', 'actorId', 'actorRole')}, ${sql.raw(u)}.email as actor_email,
    ${wireColumns(auditLog, e, 'targetType', 'targetId', 'details', 'address', 'requestId')}`)
