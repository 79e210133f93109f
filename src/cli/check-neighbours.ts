/** What users of the server's other databases can reach in this one, for `minimart check`. */
import type { MigrationConnection } from '../db/database.ts'
import { applicationRole, closingStatement, isEmptyDatabase } from '../db/migrations/role.ts'
import { sharedRoleSeenAt } from '../db/migrations/shared-role.ts'

/** Something that works, and could be better. */
export interface Advice {
  detail: string
  remedy: string
}

export async function adviseOnNeighbours(connection: MigrationConnection): Promise<string | Advice> {
  if (await isEmptyDatabase(connection)) return 'the migrations will let no other user of the server connect'
  const found = [
    ...(await fromSharedRole(connection)),
    ...(await fromMembers(connection)),
    ...(await fromPublic(connection)),
  ]
  if (found.length === 0) return 'only users who were granted CONNECT may connect to this database'
  return {
    detail: found.map(({ detail }) => detail).join('; '),
    remedy: found.map(({ remedy }) => remedy).join(' '),
  }
}

async function fromSharedRole(connection: MigrationConnection): Promise<Advice[]> {
  const seenAt = await sharedRoleSeenAt(connection)
  if (seenAt === null) return []
  return [
    {
      detail:
        'the role minimart_app, which earlier releases share between databases, has its rights here until a day after ' +
        `its last session (seen ${seenAt})`,
      remedy: 'Once no instance of an earlier release runs: minimart migrate finish.',
    },
  ]
}

async function fromMembers(connection: MigrationConnection): Promise<Advice[]> {
  const role = await applicationRole(connection)
  const members = await connection.query(`
    select quote_ident(rolname) as name from pg_auth_members join pg_roles on pg_roles.oid = member
    where roleid = to_regrole('${role}') and rolname <> current_user and not rolsuper order by 1`)
  return members.map(({ name }) => ({
    detail: `${name} is a member of ${role} as well, and so can read all tenants`,
    remedy: `Unless that is intended: REVOKE ${role} FROM ${name};`,
  }))
}

async function fromPublic(connection: MigrationConnection): Promise<Advice[]> {
  const remedy = await closingStatement(connection)
  return remedy === null ? [] : [{ detail: 'every user of the server may connect to this database', remedy }]
}
