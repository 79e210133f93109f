import { expect, test } from 'bun:test'
import { settings } from '../../src/config/config.ts'
import { isRecord } from '../support/json-schema.ts'

const read = (name: string): Promise<string> => Bun.file(new URL(`../../${name}`, import.meta.url)).text()
const compose = await read('docker-compose.yml')

test('the image is built with the Bun version that package.json pins', async () => {
  const { devDependencies } = await Bun.file(new URL('../../package.json', import.meta.url)).json()
  expect(await read('Dockerfile')).toContain(`ARG BUN_VERSION=${devDependencies.bun}\n`)
})

test('docker-compose.yml requires every secret and has a default for none', () => {
  const asked = [...compose.matchAll(/\$\{(\w+):([-?])([^}]*)\}/g)]
  const secrets = asked.filter(([, name]) => /PASSWORD|SECRET_KEY$|ADMIN_EMAIL/.test(name ?? ''))
  expect(new Set(secrets.map(([, name]) => name))).toEqual(
    new Set([
      'JWT_SECRET_KEY',
      'POSTGRES_PASSWORD',
      'REDIS_PASSWORD',
      'SUPER_ADMIN_EMAIL',
      'SUPER_ADMIN_PASSWORD',
    ]),
  )
  for (const [, name, how, hint] of secrets) expect(`${name} ${how} ${hint}`).toMatch(/^\w+ \? set it/)
  expect(compose.match(/\$\{\w+\}/g)).toBeNull()
})

test('docker-compose.yml sets only existing settings', () => {
  const document: unknown = Bun.YAML.parse(compose)
  const services = isRecord(document) && isRecord(document['services']) ? document['services'] : {}
  const { app } = services
  const environment = isRecord(app) && isRecord(app['environment']) ? Object.keys(app['environment']) : []
  const known = Object.values(settings).map((setting) => setting.variable)
  expect(environment.length).toBeGreaterThan(5)
  expect(environment.filter((name) => !known.includes(name))).toEqual([])
})

test('the proxy forwards no spelling of /metrics', () => {
  const [, pattern = 'none'] = /@metrics path_regexp (\S+)\n\s+respond @metrics 404/.exec(compose) ?? []
  for (const path of ['/metrics', '/metrics/', '/metrics\\', '/x\\..\\metrics', '/x/../metrics'])
    expect(path).toMatch(new RegExp(pattern))
})
