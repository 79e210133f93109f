/** Ids are UUIDv7 (RFC 9562): ordered by the moment they were made, lower case. */
export const newId = (): string => Bun.randomUUIDv7()

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** Any UUID in any case: what a path may ask for. */
export const isUuid = (text: string): boolean => uuid.test(text)

/** A UUIDv7 in lower case: what a client may choose. */
export const isUuid7 = (text: string): boolean => uuid7.test(text)
