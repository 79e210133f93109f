import { expect, test } from 'bun:test'
import { ConfigError, loadConfig } from '../../src/config/config.ts'

function faultsOf(environment: Record<string, string>): readonly string[] {
  try {
    loadConfig(environment)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

test('all faults are reported together, each by its variable, and no others', () => {
  const faults = faultsOf({
    DATABASE_URL: 'mysql://somewhere',
    PORT: '70000',
    SUPER_ADMIN_EMAIL: 'nobody',
    SUPER_ADMIN_PASSWORD: 'a long enough passphrase',
    TRUST_PROXY: '10.0.0.0/99',
    RATE_LIMIT_AUTH: '10/fortnight',
    TENANT_MAX_LISTS: '0',
    TENANT_MAX_MB: 'none',
    EMAIL_FROM: 'nobody',
    REDIS_URL: 'redis://127.0.0.1/abc',
    METRICS_PORT: '70000',
    METRICS_HOST: '127.0.0.1',
  })
  expect(faults.map((fault) => fault.split(' ')[0])).toEqual([
    'DATABASE_URL',
    'REDIS_URL',
    'PORT',
    'EMAIL_FROM',
    'SUPER_ADMIN_EMAIL',
    'TRUST_PROXY',
    'RATE_LIMIT_AUTH',
    'TENANT_MAX_LISTS',
    'TENANT_MAX_MB',
    'METRICS_PORT',
  ])
  for (const address of ['redis://db', 'redis://db/', 'rediss://user:word@db:6380/15'])
    expect(faultsOf({ REDIS_URL: address })).toEqual([])
  expect(faultsOf({ TENANT_MAX_LISTS: 'off', TENANT_MAX_MB: 'off' })).toEqual([])
})

test('a pair of settings with one missing is reported', () => {
  expect(faultsOf({ SUPER_ADMIN_EMAIL: 'root@shop.example' })).toEqual([
    'SUPER_ADMIN_EMAIL and SUPER_ADMIN_PASSWORD belong together: set both or neither',
  ])
  expect(faultsOf({ SMTP_USER: 'mini' })).toEqual([
    'SMTP_USER and SMTP_PASSWORD belong together: set both or neither',
  ])
})

test('PostgreSQL requires a signing key that is long enough and no known sample', () => {
  const DATABASE_URL = 'postgres://db/minimart'
  expect(faultsOf({ DATABASE_URL })[0]).toStartWith('JWT_SECRET_KEY is required with DATABASE_URL')
  for (const JWT_SECRET_KEY of [
    'short',
    'change-me-change-me-change-me-change-me',
    'your-256-bit-secret-your-256-bit-secret',
  ])
    expect(faultsOf({ DATABASE_URL, JWT_SECRET_KEY })[0]).toStartWith('JWT_SECRET_KEY')
  expect(faultsOf({ DATABASE_URL, JWT_SECRET_KEY: 'x'.repeat(32) })).toEqual([])
})
