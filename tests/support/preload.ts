/** Loaded before every test run (bunfig.toml): says loudly what cannot be tested here, and on CI refuses to go on without it. */
import { afterAll } from 'bun:test'
import { missingServices } from './missing.ts'
import { stopSharedServers } from './server.ts'
import { servicesRequired } from './service.ts'

const missing = missingServices()
if (missing.length > 0) {
  console.error(`\n*** NOT RUN: ${missing.join('; ')} ***\n`)
  if (servicesRequired) throw new Error(missing.join('; '))
}

// With tests/run.ts several files share a process, which would stop them after each file; it removes what they leave.
if (process.env['MINIMART_TEST_RUN'] === undefined) afterAll(stopSharedServers)
