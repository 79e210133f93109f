import { uuidPattern } from './patterns.ts'

/** Ids are UUIDv7 (RFC 9562): ordered by the moment they were made, lower case. */
export const newId = (): string => Bun.randomUUIDv7()

/** Of another version, so that it is never the id that a client chooses for an action of theirs. */
export const newActionId = (): string => crypto.randomUUID()

/** Any UUID in lower case. */
export const isUuid = (text: string): boolean => uuidPattern.test(text)

const uuid7 = /^.{14}7.{4}[89ab]/

/** A UUIDv7 in lower case: what a client may choose. */
export const isUuid7 = (text: string): boolean => uuidPattern.test(text) && uuid7.test(text)
