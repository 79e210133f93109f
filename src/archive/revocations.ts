/**
 * What an archive may revoke: tokens of its own tenant and users, up to the epoch it gives them, and sessions and
 * invitations, of which nothing else is known. Instances keep revocations by tenant, but those of the release before
 * go by the subject alone.
 */

import { sql } from 'drizzle-orm'
import type { Query } from '../db/database.ts'
import { refusedLine } from './lines.ts'

interface Fault {
  /** Revocations in the archive before the one at fault: they are sorted by subject. */
  before: number
}

/**
 * In the system's scope, to know the others' ids.
 * @param firstLine of the archive's revocations
 * @throws OperatorError naming the line of the first that is refused
 */
export async function ensureOwnRevocations(query: Query, tenantId: string, firstLine: number): Promise<void> {
  // Probed user by user: no statistics know yet of the rows that were just inserted.
  const [fault] = await query(sql<Fault>`
    with others as materialized (
      select r.subject
      from (select id from users where tenant_id <> ${tenantId} union select id from tenants where id <> ${tenantId}) o
      cross join lateral (
        select subject from revocations where tenant_id = ${tenantId} and subject = o.id offset 0
      ) r
    )
    select (select count(*)::int from revocations b where b.tenant_id = r.tenant_id and b.subject < r.subject) as before
    from revocations r
    join tenants t on t.id = r.tenant_id
    left join users u on u.tenant_id = r.tenant_id and u.id = r.subject
    left join others o on o.subject = r.subject
    where r.tenant_id = ${tenantId} and (o.subject is not null or case
      when r.subject = t.id then r.minimum_epoch > t.epoch
      when u.id is not null then r.minimum_epoch > u.token_epoch
      else r.minimum_epoch <> 1 or num_nonnulls(r.spared_session, r.spared_epoch) > 0 end)
    order by r.subject limit 1`)
  if (fault)
    throw refusedLine(
      firstLine + fault.before,
      'revokes tokens of someone who is not in the archive, or later ones than its own',
    )
}
