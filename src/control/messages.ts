/** One line of JSON each way. What was made for a request lives as long as its connection. */
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

export const copyRequest = { request: 'copy' } as const

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
const Reply = Type.Union([Type.Object({ copied: Copy }), Type.Object({ refused: Type.String() })])

export type CopyMade = Static<typeof Copy>
export type Reply = Static<typeof Reply>

export const isCopyRequest = (line: string): boolean => {
  const message = parse(line)
  return typeof message === 'object' && message !== null && 'request' in message && message.request === 'copy'
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
