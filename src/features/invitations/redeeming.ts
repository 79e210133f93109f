/**
 * An invitation can be redeemed once. Redeemed ones are kept beside the revoked tokens in the database, not in the
 * store: nothing that Redis loses may let a removed member back in. Accepting records it in the transaction that makes
 * the membership, so that both are true or neither.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { ConstraintError } from '../../db/errors.ts'
import { refusal } from '../list-changes/refusals.ts'
import type { Invitation } from './token.ts'

/** @throws AppError invitation_spent (409) */
export async function refuseRedeemed(db: Database, invitation: Invitation): Promise<void> {
  const { tenantId } = invitation
  const [row] = await db.read(
    { tenantId },
    sql<{ redeemed: boolean }>`select ${isRedeemed(invitation)} as redeemed`,
  )
  if (row?.redeemed) throw refusal('invitation_spent')
}

export const isRedeemed = ({ id, tenantId }: Invitation): SQL =>
  sql`exists (select from revocations r where r.tenant_id = ${tenantId} and r.subject = ${id})`

/** Marks the invitation as redeemed, once for each row of `from`; a second time violates the primary key. */
export const redeemStatement = ({ id, tenantId }: Invitation, from: SQL): SQL => sql`
  insert into revocations (tenant_id, subject, minimum_epoch) select ${tenantId}::uuid, ${id}::uuid, 1 from ${from}`

/** Maps the violated primary key to invitation_spent; any other error is returned as it is. */
export const alreadyRedeemed = (error: unknown): unknown =>
  error instanceof ConstraintError && error.constraint === 'revocations_pkey'
    ? refusal('invitation_spent')
    : error
