/** The document that is published, made from the real routes. */
import { expect, test } from 'bun:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { createDocumentedApp } from '../../../src/app.ts'
import { openapiDocument } from '../../../src/http/docs/openapi.ts'
import { openapiFaults } from './openapi-faults.ts'

const document = await openapiDocument(createDocumentedApp())

test('is valid by the schema that OpenAPI 3.1 is defined by', async () => {
  expect(await new Validator().validate({ ...document })).toEqual({ valid: true })
})

test('is complete: every operation with its errors, its parameters and examples that fit', () => {
  // Whatever asks whether the service is ready wants plain JSON, by the contract.
  expect(openapiFaults(document)).toEqual(['GET /readyz: 503 is no problem+json'])
})
