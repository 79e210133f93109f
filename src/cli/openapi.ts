import { createDocumentedApp } from '../app.ts'
import { openapiDocument } from '../http/docs/openapi.ts'
import type { Command } from './command.ts'
import { print } from './print.ts'

export const openapi: Command = {
  summary: 'print the OpenAPI document of the HTTP API',
  details: 'Needs no settings and no database: minimart openapi > openapi.json',
  async run() {
    await print(JSON.stringify(await openapiDocument(createDocumentedApp()), null, 2))
    return 0
  },
}
