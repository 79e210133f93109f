import { createDocumentedApp } from '../app.ts'
import { openapiDocument } from '../http/openapi.ts'
import type { Command } from './command.ts'

export const openapi: Command = {
  summary: 'print the OpenAPI document of the HTTP API',
  details: 'Needs no settings and no database: minimart openapi > openapi.json',
  async run() {
    console.log(JSON.stringify(await openapiDocument(createDocumentedApp()), null, 2))
    return 0
  },
}
