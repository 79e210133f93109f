/**
 * An invitation works once. That it was spent is kept with the revoked tokens in the database, not in the store: what
 * Redis loses must not let a removed member back in. Accepting writes it in the transaction that makes the membership,
 * so there is no moment at which only one of the two is true.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { ConstraintError } from '../../db/errors.ts'
import { refused } from '../list-changes/refusals.ts'
import type { Invitation } from './token.ts'

/** @throws AppError invitation_spent (409) */
export async function refuseSpent(db: Database, invitation: Invitation): Promise<void> {
  const { tenantId } = invitation
  const [row] = await db.read({ tenantId }, sql<{ spent: boolean }>`select ${isSpent(invitation)} as spent`)
  if (row?.spent) throw refused('invitation_spent')
}

export const isSpent = ({ id, tenantId }: Invitation): SQL =>
  sql`exists (select from revocations r where r.tenant_id = ${tenantId} and r.subject = ${id})`

/** Marks the invitation as spent, once for each row of `from`. Whoever comes second breaks the primary key. */
export const spendStatement = ({ id, tenantId }: Invitation, from: SQL): SQL => sql`
  insert into revocations (tenant_id, subject, minimum_epoch) select ${tenantId}::uuid, ${id}::uuid, 1 from ${from}`

/** Tells that someone else was faster by its constraint; anything else goes on as it came. */
export const alreadySpent = (error: unknown): unknown =>
  error instanceof ConstraintError && error.constraint === 'revocations_pkey'
    ? refused('invitation_spent')
    : error
