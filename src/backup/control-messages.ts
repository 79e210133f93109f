/**
 * Lines of JSON, each answered by one. What was made for a request lives as long as its connection.
 *
 *   {"request":"backup"}                                         a copy, whose maker does the rest
 *   {"request":"export"}                                         a copy; and, before the export made of it is whole:
 *   {"request":"record","tenantId":…,"credentials":…,"rows":…}   an entry in the audit trail, which the copy's is not
 */
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { isUuid } from '../lib/ids.ts'

export type CopyFor = 'backup' | 'export'

/** An export that is about to be whole. */
const ExportRecord = Type.Object({
  tenantId: Type.String(),
  credentials: Type.Boolean(),
  rows: Type.Integer({ minimum: 0 }),
})
const Request = Type.Union([
  Type.Object({ request: Type.Union([Type.Literal('backup'), Type.Literal('export')]) }),
  Type.Composite([Type.Object({ request: Type.Literal('record') }), ExportRecord]),
])

const Copy = Type.Object({
  at: Type.String(),
  postgres: Type.String(),
  migrations: Type.Array(
    Type.Object({ version: Type.Integer(), name: Type.String(), checksum: Type.String() }),
  ),
  wal: Type.Object({ first: Type.String(), last: Type.String() }),
  bytes: Type.Integer(),
  pausedMs: Type.Integer(),
})
const Reply = Type.Union([
  Type.Object({ copied: Copy }),
  Type.Object({ recorded: Type.Literal(true) }),
  Type.Object({ refused: Type.String() }),
])

export type ExportRecord = Static<typeof ExportRecord>
export type Request = Static<typeof Request>
export type CopyMade = Static<typeof Copy>
export type Reply = Static<typeof Reply>

/** Null for what is none. */
export function readRequest(line: string): Request | null {
  const request = parse(line)
  if (!Value.Check(Request, request)) return null
  return request.request !== 'record' || isUuid(request.tenantId) ? request : null
}

/** Null for what is none. */
export function readReply(line: string): Reply | null {
  const reply = parse(line)
  return Value.Check(Reply, reply) ? reply : null
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return null
  }
}
