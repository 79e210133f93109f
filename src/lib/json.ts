import type { Static, TSchema } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'

/**
 * Reads JSON that was stored or received: by another release, perhaps, or damaged on the way.
 * @returns a function that gives the value, or null for text that is no JSON or does not match `schema`
 */
export function jsonReader<T extends TSchema>(schema: T): (text: string | null) => Static<T> | null {
  const check: TypeCheck<T> = TypeCompiler.Compile(schema)
  return (text) => {
    const value = text === null ? undefined : parsed(text)
    return check.Check(value) ? value : null
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
