/** The two settings that row-level security reads (migration 0001), as one statement before each application statement. */
import type { Scope } from './database.ts'
import type { Statement } from './statement.ts'

const forSession = `select set_config('app.tenant_id', $1, false), set_config('app.scope', $2, false)`
const forTransaction = `select set_config('app.tenant_id', $1, true), set_config('app.scope', $2, true)`

/** Holds until the next call on the connection, which sets its own: every statement is sent behind one of these. */
export const scopeForSession = (scope: Scope): Statement => ({
  text: forSession,
  parameters: settings(scope),
})

/** Ends with the transaction. */
export const scopeForTransaction = (scope: Scope): Statement => ({
  text: forTransaction,
  parameters: settings(scope),
})

/** The values of the two settings: the tenant, and the name of a scope beyond tenants. */
export const settings = (scope: Scope): [tenant: string, name: string] =>
  typeof scope === 'string' ? ['', scope] : [scope.tenantId, '']
