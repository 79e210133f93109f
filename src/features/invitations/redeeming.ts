/**
 * An invitation can be redeemed once. Redeemed ones are kept in the database, not in the store: nothing that Redis loses
 * may let a removed member back in. Accepting records it in the transaction that makes the membership, so that both are
 * true or neither.
 *
 * The release before kept them in `revocations`, and may run beside this one: both tables are read and written.
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

export const isRedeemed = ({ id, tenantId }: Invitation): SQL => sql`(
  exists (select from spent_invitations s where s.tenant_id = ${tenantId} and s.invitation_id = ${id})
  or exists (select from revocations r where r.tenant_id = ${tenantId} and r.subject = ${id}))`

/**
 * CTEs that mark the invitation as redeemed, once for each row of `from`; a second time violates a primary key. The
 * second insert reads the first, so that everybody makes them in that order and nobody waits in a circle.
 */
export const redeemSteps = ({ id, tenantId }: Invitation, from: SQL): SQL => sql`spent as (
    insert into spent_invitations (tenant_id, invitation_id)
    select ${tenantId}::uuid, ${id}::uuid from ${from} returning tenant_id, invitation_id
  ), revoked as (
    insert into revocations (tenant_id, subject, minimum_epoch) select tenant_id, invitation_id, 1 from spent
  )`

/** Maps the violated primary key to invitation_spent; any other error is returned as it is. */
export const alreadyRedeemed = (error: unknown): unknown =>
  error instanceof ConstraintError &&
  ['spent_invitations_pkey', 'revocations_pkey'].includes(error.constraint)
    ? refusal('invitation_spent')
    : error
