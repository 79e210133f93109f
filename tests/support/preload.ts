/** Loaded before every test run (bunfig.toml): reports what cannot be tested on this machine, and fails on CI. */
import { afterAll } from 'bun:test'
import { missingServices } from './missing.ts'
import { stopSharedServers } from './server.ts'
import { servicesRequired } from './service.ts'

const missing = missingServices()
if (missing.length > 0) {
  console.error(`\n*** NOT RUN: ${missing.join('; ')} ***\n`)
  if (servicesRequired) throw new Error(missing.join('; '))
}

// With tests/run.ts several files share a process, and this hook would run after each; there run.ts cleans up.
if (process.env['MINIMART_TEST_RUN'] === undefined) afterAll(stopSharedServers)
