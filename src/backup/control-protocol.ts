/**
 * How `minimart backup` and `export` reach the server that has the embedded database open: HTTP over a Unix socket
 * in DATA_DIR. Whatever is refused is `{"refused":"…"}` with a status of 400 or above.
 *
 *   POST /v1/copies {"for":"backup"}     Copies the data folder. The answer is JSON Lines: {"accepted":"<copy id>"},
 *                                        then {"copied":{…}} or {"refused":"…"}. It stays open for as long as the
 *                                        copy exists: the copy is removed once the client closes the connection,
 *                                        and the server ends the answer before it removes the copy itself.
 *   GET  /v1/copies/<id>                 204 while that copy exists.
 *   POST /v1/exports {"copy":"<id>",…}   Records an export of that copy in the audit trail, once: 204.
 */

import { join } from 'node:path'
import { type Static, Type } from '@sinclair/typebox'
import { jsonReader } from '../lib/json.ts'
import { uuidPattern } from '../lib/patterns.ts'

/** Only the server's user may enter the folder. Bun works around the 108 bytes of a socket's path on Linux. */
export const controlFolder = (dataDir: string): string => join(dataDir, 'control')
export const controlSocket = (dataDir: string): string => join(controlFolder(dataDir), 'socket')

export const copiesPath = '/v1/copies'
export const exportsPath = '/v1/exports'

const CopyFor = Type.Union([Type.Literal('backup'), Type.Literal('export')])
const CopyRequest = Type.Object({ for: CopyFor })

const ExportRecord = Type.Object({
  tenantId: Type.String({ pattern: uuidPattern.source }),
  credentials: Type.Boolean(),
  rows: Type.Integer({ minimum: 0 }),
})
const RecordRequest = Type.Composite([Type.Object({ copy: Type.String() }), ExportRecord])

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
const Refusal = Type.Object({ refused: Type.String() })
const CopyEvent = Type.Union([
  Type.Object({ accepted: Type.String() }),
  Type.Object({ copied: Copy }),
  Refusal,
])

export type CopyFor = Static<typeof CopyFor>
/** An export that is complete but for its last line. */
export type ExportRecord = Static<typeof ExportRecord>
export type RecordRequest = Static<typeof RecordRequest>
export type CopyResult = Static<typeof Copy>
export type CopyEvent = Static<typeof CopyEvent>

export const readCopyRequest = jsonReader(CopyRequest)
export const readRecordRequest = jsonReader(RecordRequest)
export const readCopyEvent = jsonReader(CopyEvent)
export const readRefusal = jsonReader(Refusal)
