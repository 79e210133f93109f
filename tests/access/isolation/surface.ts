/** What the program takes from outside, read from its own route table and its socket's schemas. */
import { createDocumentedApp } from '../../../src/app.ts'
import { ClientMessage } from '../../../src/realtime/protocol.ts'
import { isRecord } from '../../support/json-schema.ts'

export interface Route {
  /** Like `PATCH /api/v1/items/:id`. */
  name: string
  method: string
  path: string
  /** Names of the path's parameters. */
  params: string[]
  /** Names of the fields that the body may have, nested ones as `admin.email`. */
  bodyFields: string[]
  queryFields: string[]
}

export const routes: Route[] = createDocumentedApp()
  .routes.filter(({ method }) => method !== 'OPTIONS')
  .map(({ method, path: registered, hooks }) => {
    const path = registered.replace(/(?<=.)\/$/, '')
    return {
      name: `${method} ${path}`,
      method,
      path,
      params: [...path.matchAll(/:(\w+)/g)].flatMap(([, name]) => name ?? []),
      bodyFields: fieldsOf(hooks?.body),
      queryFields: fieldsOf(hooks?.query),
    }
  })

/** Like `subscribe list_id`, for each field of each message that a client may send. */
export const messageFields: string[] = ClientMessage.anyOf.flatMap(({ properties }) => {
  const fields = fieldsOf(properties.payload)
  return fields.length > 0
    ? fields.map((field) => `${properties.type.const} ${field}`)
    : properties.type.const
})

function fieldsOf(schema: unknown, prefix = ''): string[] {
  if (!isRecord(schema)) return []
  const choices = [schema['anyOf'], schema['allOf'], schema['oneOf']].flat().filter(isRecord)
  const properties = isRecord(schema['properties']) ? Object.entries(schema['properties']) : []
  return [
    ...new Set([
      ...choices.flatMap((choice) => fieldsOf(choice, prefix)),
      ...fieldsOf(schema['items'], prefix),
      ...properties.flatMap(([name, inner]) => {
        const nested = fieldsOf(inner, `${prefix}${name}.`)
        return nested.length > 0 ? nested : `${prefix}${name}`
      }),
    ]),
  ]
}
