/** All migrations, in order. Imported as text, because the executable has no drizzle/ folder beside it. */
import initialDown from '../../../drizzle/0000_initial.down.sql' with { type: 'text' }
import initialUp from '../../../drizzle/0000_initial.sql' with { type: 'text' }
import tenantIsolationDown from '../../../drizzle/0001_tenant_isolation.down.sql' with { type: 'text' }
import tenantIsolationUp from '../../../drizzle/0001_tenant_isolation.sql' with { type: 'text' }
import streamHeadsDown from '../../../drizzle/0002_stream_heads.down.sql' with { type: 'text' }
import streamHeadsUp from '../../../drizzle/0002_stream_heads.sql' with { type: 'text' }
import auditDown from '../../../drizzle/0003_audit_and_housekeeping.down.sql' with { type: 'text' }
import auditUp from '../../../drizzle/0003_audit_and_housekeeping.sql' with { type: 'text' }
import positionsDown from '../../../drizzle/0004_positions.down.sql' with { type: 'text' }
import positionsUp from '../../../drizzle/0004_positions.sql' with { type: 'text' }
import keyedCallsDown from '../../../drizzle/0005_keyed_calls.down.sql' with { type: 'text' }
import keyedCallsUp from '../../../drizzle/0005_keyed_calls.sql' with { type: 'text' }
import apartDown from '../../../drizzle/0006_apart.down.sql' with { type: 'text' }
import apartUp from '../../../drizzle/0006_apart.sql' with { type: 'text' }
import refusalsDown from '../../../drizzle/0007_revocations_and_refusals.down.sql' with { type: 'text' }
import refusalsUp from '../../../drizzle/0007_revocations_and_refusals.sql' with { type: 'text' }
import mailOutboxDown from '../../../drizzle/0008_mail_outbox.down.sql' with { type: 'text' }
import mailOutboxUp from '../../../drizzle/0008_mail_outbox.sql' with { type: 'text' }
import quotasDown from '../../../drizzle/0009_quotas.down.sql' with { type: 'text' }
import quotasUp from '../../../drizzle/0009_quotas.sql' with { type: 'text' }
import addressesDown from '../../../drizzle/0010_addresses.down.sql' with { type: 'text' }
import addressesUp from '../../../drizzle/0010_addresses.sql' with { type: 'text' }
import tombstonesDown from '../../../drizzle/0011_tombstones.down.sql' with { type: 'text' }
import tombstonesUp from '../../../drizzle/0011_tombstones.sql' with { type: 'text' }

export interface Migration {
  /** The number its file begins with, from 0 without gaps. */
  readonly version: number
  /** The up file's name without its extension. */
  readonly name: string
  /** Statements, separated by lines `--> statement-breakpoint`. */
  readonly up: string
  readonly down: string
}

export const migrations: readonly Migration[] = [
  { version: 0, name: '0000_initial', up: initialUp, down: initialDown },
  { version: 1, name: '0001_tenant_isolation', up: tenantIsolationUp, down: tenantIsolationDown },
  { version: 2, name: '0002_stream_heads', up: streamHeadsUp, down: streamHeadsDown },
  { version: 3, name: '0003_audit_and_housekeeping', up: auditUp, down: auditDown },
  { version: 4, name: '0004_positions', up: positionsUp, down: positionsDown },
  { version: 5, name: '0005_keyed_calls', up: keyedCallsUp, down: keyedCallsDown },
  { version: 6, name: '0006_apart', up: apartUp, down: apartDown },
  { version: 7, name: '0007_revocations_and_refusals', up: refusalsUp, down: refusalsDown },
  { version: 8, name: '0008_mail_outbox', up: mailOutboxUp, down: mailOutboxDown },
  { version: 9, name: '0009_quotas', up: quotasUp, down: quotasDown },
  { version: 10, name: '0010_addresses', up: addressesUp, down: addressesDown },
  { version: 11, name: '0011_tombstones', up: tombstonesUp, down: tombstonesDown },
]
