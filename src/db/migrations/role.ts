/**
 * The role that the service works as, to which row-level security applies. Each database of a server has its own,
 * granted to the user who migrates it and nobody else, so that the users of other databases have no rights here. It is
 * set up after the migrations, at each start: a copy of a database has a role to get, too.
 */
import type { Logger } from '../../log.ts'
import type { MigrationConnection } from '../database.ts'
import { StatementError } from '../errors.ts'

/** What the role may do with each table. Migrations from 0004 on grant nothing themselves. */
const tableRights: Readonly<Record<string, readonly string[]>> = {
  tenants: ['SELECT', 'INSERT', 'UPDATE'],
  users: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  shopping_lists: ['SELECT', 'INSERT', 'UPDATE'],
  list_members: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  items: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  list_events: ['SELECT', 'INSERT', 'DELETE'],
  keyed_calls: ['SELECT', 'INSERT', 'DELETE'],
  spent_invitations: ['SELECT', 'INSERT', 'DELETE'],
  refusal_counts: ['SELECT', 'INSERT', 'UPDATE'],
  audit_log: ['SELECT', 'INSERT'],
  mail_outbox: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  revocations: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  store_entries: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  installation: ['SELECT'],
  schema_migrations: ['SELECT'],
}

/** Functions that it alone may call. */
const functions = [
  'delete_audit_entries(timestamptz, integer)',
  'delete_audit_refusals(timestamptz, integer)',
  'email_is_taken(text, uuid, boolean)',
  'retire_shared_role()',
]

/** The role's name: it stays the same when the database is renamed, and no other database has it. */
export async function applicationRole(connection: MigrationConnection): Promise<string> {
  const [row] = await connection.query(selectRole)
  return String(row?.['role'])
}

const selectRole = `select 'minimart_app_' || oid as role from pg_database where datname = current_database()`

/** Creates the role and gives it its rights, where they are lacking and this user may. */
export async function settleRole(connection: MigrationConnection): Promise<void> {
  const role = await applicationRole(connection)
  await whereAllowed(connection, createRole(role))
  const [found] = await connection.query(`select to_regrole('${role}') is not null as "exists"`)
  if (found?.['exists'] === true) await whereAllowed(connection, grantRights(role))
}

export const insufficientPrivilege = '42501'

async function whereAllowed(connection: MigrationConnection, statement: string): Promise<void> {
  try {
    await connection.query(statement)
  } catch (error) {
    if (!(error instanceof StatementError) || error.sqlState !== insufficientPrivilege) throw error
  }
}

/** From PostgreSQL 16 on whoever creates a role is its member, yet may not SET ROLE to it until granted. */
const createRole = (role: string): string => `do $$ begin
  if to_regrole('${role}') is null then
    create role ${role} nologin;
  end if;
  if not pg_has_role(current_user, '${role}',
                     case when current_setting('server_version_num')::integer < 160000 then 'MEMBER' else 'SET' end) then
    execute format('grant ${role} to %I', current_user);
  end if;
end $$`

/** Grants what is lacking. In a copy of another database, the other's role loses what came with the copy. */
const grantRights = (role: string): string => `do $$
declare
  statement text;
begin
  for statement in
    select 'grant usage on schema public to ${role}' where not exists (
      select from pg_namespace, aclexplode(nspacl) where nspname = 'public' and grantee = to_regrole('${role}'))
    union all
    select format('grant %s on %I to ${role}', privilege, name) from (values ${wantedRights}) as wanted (name, privilege)
      where to_regclass(name) is not null and not has_table_privilege('${role}', to_regclass(name), privilege)
    union all
    select format('revoke all on function %s from public; grant execute on function %1$s to ${role}', name)
      from (values ${functions.map((name) => `('${name}')`).join(', ')}) as wanted (name)
      where to_regprocedure(name) is not null and (has_function_privilege('public', to_regprocedure(name), 'EXECUTE')
        or not has_function_privilege('${role}', to_regprocedure(name), 'EXECUTE'))
    union all
    select format('revoke all on all tables in schema public from %I; revoke all on all functions in schema public '
        'from %1$I; revoke all on schema public from %1$I', rolname)
      from pg_roles where rolname ~ '^minimart_app_[0-9]+$' and rolname <> '${role}' and exists (
        select from pg_class, aclexplode(relacl) where pg_class.oid = to_regclass('tenants') and grantee = pg_roles.oid)
  loop
    execute statement;
  end loop;
end $$`

const wantedRights = Object.entries(tableRights)
  .flatMap(([table, privileges]) => privileges.map((privilege) => `('${table}', '${privilege}')`))
  .join(', ')

/** Whether there is nothing in the database yet but what migrations keep about themselves. */
export async function isEmptyDatabase(connection: MigrationConnection): Promise<boolean> {
  const [row] = await connection.query(selectEmpty)
  return row?.['empty'] === true
}

const selectEmpty = `select not exists (
  select from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where nspname !~ '^pg_' and nspname <> 'information_schema' and relname !~ '^schema_migrations'
    and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e')
) as empty`

/** Lets only this user and the database's owner connect, from now on. */
export async function closeToOthers(connection: MigrationConnection, log: Logger): Promise<void> {
  const statement = await closingStatement(connection)
  if (statement === null) return
  await whereAllowed(connection, `do $$ begin ${statement} end $$`)
  if ((await closingStatement(connection)) !== null)
    log.info('Every user of the server may connect to this database; its owner can change that', {
      statement,
    })
}

/** What closes a database to which everyone may connect; null where that is not so. */
export async function closingStatement(connection: MigrationConnection): Promise<string | null> {
  const [row] = await connection.query(selectClosing)
  return typeof row?.['statement'] === 'string' ? row['statement'] : null
}

const selectClosing = `select case when has_database_privilege('public', current_database(), 'CONNECT') then
  format('GRANT CONNECT ON DATABASE %I TO %I; REVOKE CONNECT ON DATABASE %1$I FROM PUBLIC;',
    current_database(), current_user) end as statement`
