import { sql } from 'drizzle-orm'
import type { Logger } from '../../log.ts'
import type { UnderLock } from './lock.ts'

/** See db/migrations/shared-role.ts; to be removed with it. @throws LockedElsewhere, AppError database_unavailable */
export async function retireSharedRole(underLock: UnderLock, log: Logger): Promise<void> {
  const [row] = await underLock((query) =>
    query(sql<{ retired: boolean }>`select retire_shared_role() as retired`),
  )
  if (row?.retired)
    log.info(
      'the role minimart_app of earlier releases, unused for a day, has no rights on this database any more',
    )
}
