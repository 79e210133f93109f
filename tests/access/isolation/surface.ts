/** Every input of the API, read from the route table and the socket's schemas. */
import { createDocumentedApp } from '../../../src/app.ts'
import { ClientMessage } from '../../../src/realtime/protocol.ts'
import { isRecord } from '../../support/json-schema.ts'

export interface Route {
  /** E.g. `PATCH /api/v1/items/:id`. */
  name: string
  method: string
  path: string
  /** Path parameters. */
  params: string[]
  /** Body fields, nested ones as `admin.email`. */
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

/** Each field of each client message, e.g. `subscribe list_id`. */
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
