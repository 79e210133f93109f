/**
 * Checks what must hold across a tenant's rows and no constraint ensures: lists have the items and events that they
 * count and the one owner that they name, and everyone who changed something is a user of the tenant.
 */

import { type SQL, sql } from 'drizzle-orm'
import type { Query } from '../db/database.ts'
import { OperatorError } from '../errors.ts'

interface Fault {
  id: string
}

/** @throws OperatorError naming the first list that fails a check */
export async function ensureConsistent(query: Query, tenantId: string): Promise<void> {
  for (const [what, statement] of checks(tenantId)) {
    const [fault] = await query(statement)
    if (fault) throw new OperatorError(`The list ${fault.id} in the archive ${what}. Nothing was imported.`)
  }
}

const checks = (tenantId: string): [what: string, faults: SQL<Fault>][] => [
  [
    'does not have the items that it counts',
    sql<Fault>`select l.id from shopping_lists l left join (
        select list_id, count(*) as items, count(*) filter (where status = 'pending') as pending
        from items where tenant_id = ${tenantId} and deleted_at is null group by list_id
      ) i on i.list_id = l.id
      where l.tenant_id = ${tenantId}
        and (l.item_count, l.pending_count) is distinct from (coalesce(i.items, 0), coalesce(i.pending, 0))
      order by l.id limit 1`,
  ],
  [
    // Housekeeping deletes the oldest events, so they need not begin at 1.
    'has events that do not lead up to its seq without a gap',
    sql<Fault>`select l.id from shopping_lists l join (
        select list_id, count(*) as events, min(seq) as first, max(seq) as last
        from list_events where tenant_id = ${tenantId} group by list_id
      ) e on e.list_id = l.id
      where l.tenant_id = ${tenantId} and (e.last <> l.seq or e.events <> e.last - e.first + 1)
      order by l.id limit 1`,
  ],
  [
    'does not have the one owner that it names',
    sql<Fault>`select l.id from shopping_lists l left join (
        select list_id, min(user_id::text) as owner, count(*) as owners
        from list_members where tenant_id = ${tenantId} and role = 'owner' group by list_id
      ) m on m.list_id = l.id
      where l.tenant_id = ${tenantId} and (m.owners, m.owner) is distinct from (1, l.owner_id::text)
      order by l.id limit 1`,
  ],
  [
    'has items that were changed or bought by someone who is not in the archive',
    sql<Fault>`select i.list_id as id from items i
      left join users c on c.tenant_id = i.tenant_id and c.id = i.updated_by
      left join users p on p.tenant_id = i.tenant_id and p.id = i.purchased_by
      where i.tenant_id = ${tenantId} and (c.id is null or (p.id is null and i.purchased_by is not null))
      order by i.list_id limit 1`,
  ],
  [
    'has events of someone who is not in the archive',
    sql<Fault>`select e.list_id as id from list_events e left join users u on u.tenant_id = e.tenant_id and u.id = e.actor_id
      where e.tenant_id = ${tenantId} and u.id is null order by e.list_id limit 1`,
  ],
]
