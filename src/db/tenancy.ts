/**
 * Row-level security reads two settings of the session (migration 0001): the tenant, and the name of a scope beyond
 * tenants. Every application statement is preceded by one that sets both.
 */
import type { Scope } from './database.ts'
import type { Statement } from './statement.ts'

const forSession = `select set_config('app.tenant_id', $1, false), set_config('app.scope', $2, false)`
const forTransaction = `select set_config('app.tenant_id', $1, true), set_config('app.scope', $2, true),
  set_config('lock_timeout', $3, true)`

/** Lasts until the connection's next call, which sets its own. */
export const scopeForSession = (scope: Scope): Statement => ({
  text: forSession,
  parameters: scopeSettings(scope),
})

/** Ends with the transaction. @param lockTimeoutMs 0: a lock is waited for as long as the statement may take */
export const scopeForTransaction = (scope: Scope, lockTimeoutMs = 0): Statement => ({
  text: forTransaction,
  parameters: [...scopeSettings(scope), String(lockTimeoutMs)],
})

export const scopeSettings = (scope: Scope): [tenantId: string, name: string] =>
  typeof scope === 'string' ? ['', scope] : [scope.tenantId, '']
