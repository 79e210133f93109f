/**
 * The role of earlier releases, which all databases of a server shared. While instances of such a release still run, it
 * keeps its rights on this database: until none of their sessions was seen for a day (housekeeping calls
 * retire_shared_role), or until `minimart migrate finish`. To be removed with the next release.
 */
import type { MigrationConnection } from '../database.ts'

const sharedRole = 'minimart_app'

/** The first migration that does not name it: this one and later ones grant nothing (role.ts). */
export const firstWithoutIt = 4

/**
 * What stands for it in migrations: itself in a database that a release before began to use, else the database's own
 * role.
 */
export async function roleInOldMigrations(connection: MigrationConnection, own: string): Promise<string> {
  const [row] = await connection.query(selectGranted)
  return row?.['granted'] === true ? sharedRole : own
}

const selectGranted = `select exists (select from pg_class, aclexplode(relacl)
  where pg_class.oid = to_regclass('tenants') and grantee = to_regrole('${sharedRole}')) as granted`

/** @param role as roleInOldMigrations has it */
export const nameRole = (text: string, version: number, role: string): string =>
  version < firstWithoutIt ? text.replace(/\bminimart_app\b/g, role) : text

/** When a session of an earlier release was last seen; null once the shared role has no rights here. RFC 3339. */
export async function sharedRoleSeenAt(connection: MigrationConnection): Promise<string | null> {
  const [found] = await connection.query(`select to_regclass('installation') is not null as "exists"`)
  if (found?.['exists'] !== true) return null
  const [row] = await connection.query('select wire_time(shared_role_seen_at) as at from installation')
  return typeof row?.['at'] === 'string' ? row['at'] : null
}

/** Takes the shared role's rights on this database. @returns whether it had any */
export async function revokeSharedRole(connection: MigrationConnection): Promise<boolean> {
  const [row] = await connection.query('select revoke_shared_role() as revoked')
  return row?.['revoked'] === true
}
