import type { Static, TSchema } from '@sinclair/typebox'
import type { TypeCheck } from '@sinclair/typebox/compiler'

/** Null where the text is not JSON or does not match the schema. */
export function parseJson<T extends TSchema>(check: TypeCheck<T>, text: string): Static<T> | null {
  try {
    const value: unknown = JSON.parse(text)
    return check.Check(value) ? value : null
  } catch {
    return null
  }
}
