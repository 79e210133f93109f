/** The published document, generated from the real routes. */
import { expect, test } from 'bun:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { createDocumentedApp } from '../../../src/app.ts'
import { openapiDocument } from '../../../src/http/docs/openapi.ts'
import { openapiFaults } from './openapi-faults.ts'

const document = await openapiDocument(createDocumentedApp())

test('is valid by the official OpenAPI 3.1 schema', async () => {
  expect(await new Validator().validate({ ...document })).toEqual({ valid: true })
})

test('is complete: every operation has its errors, parameters and valid examples', () => {
  // By the contract, readiness probes get plain JSON.
  expect(openapiFaults(document)).toEqual(['GET /readyz: 503 is no problem+json'])
})
