/** Whatever the settings take for the first super admin can be typed at sign-in, over HTTP. */
import { beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { ConfigError, loadConfig } from '../../src/config/config.ts'
import { platformTenantId } from '../../src/db/schema.ts'
import { createSuperAdmin, ensureSuperAdmin } from '../../src/features/users/super-admin.ts'
import { createClient } from '../support/client.ts'
import { freshEmail, goodPassword, makeTenant } from '../support/people.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'

const renamed = (email: string) =>
  sql`update users set email = id || '@former.example' where email = ${email}`
const allAre = (role: string) => sql`update users set role = ${role} where tenant_id = ${platformTenantId}`

type Given = { email: string; password: string }

/** As the environment has them: the address or the password is odd. */
const settings: Given[] = [
  ...[
    ['admin@localhost', 'chef@müller.de', 'Chef@MÜLLER.de', ' padded@shop.example\t', 'a+b@shop.example'],
    ['jose\u0301@shop.example', 'chef@mu\u0308ller.de', 'İ@shop.example', 'o’neill@shop.example'],
    [`${'x'.repeat(64)}@shop.example`, `${'x'.repeat(65)}@shop.example`, `${'İ'.repeat(64)}@shop.example`],
    [`a@${'b.'.repeat(126)}c`, `a@${'b.'.repeat(125)}cc`, `e${'\u0301'.repeat(31)}@shop.example`],
    ['a..b@shop.example', 'a(b)@shop.example', 'a:b@shop.example', '"a b"@shop.example', 'a@b@shop.example'],
    ['a@h6_x.test', 'a@[127.0.0.1]', 'a@127.0.0.1', 'a\u0007b@shop.example', 'a\u0085b@shop.example'],
    ['a\uFFFD@shop.example', 'a\uD800@shop.example', 'a@.example', 'a@', '@shop.example', 'nobody'],
  ]
    .flat()
    .map((email) => ({ email, password: goodPassword })),
  ...[
    [' blanks around it ', '\tblanks around it', '        ', ' \t \t \t \t ', `pass${'\u00a0'}word with it`],
    ['cafe\u0301 cre\u0300me', 'café crème', '\u1112\u1161\u11ab\u1100\u1173\u11af password'],
    ['a control \u0007 in it', 'new\nline within', 'line break after\n', 'line break after\r\n'],
    [
      'seven77',
      'eight8!8',
      `!${'😀'.repeat(127)}`,
      '😀'.repeat(129),
      `!${'e\u0301'.repeat(127)}`,
      'x'.repeat(129),
    ],
    [
      `marks e${'\u0301'.repeat(30)}`,
      `marks e${'\u0301'.repeat(31)}`,
      'not \uFFFD UTF-8',
      'half a \uD83D pair',
    ],
    ['password1', 'zzzzzzzz', 'chef@shop.example', 'CHEF@shop.example'],
  ]
    .flat()
    .map((password) => ({ email: 'chef@shop.example', password })),
]

describeService('the first super admin', (backend) => {
  let server: TestServer

  beforeAll(async () => {
    server = await sharedServer(backend)
  })

  const faultsOf = ({ email, password }: Given): readonly string[] => {
    try {
      loadConfig({ SUPER_ADMIN_EMAIL: email, SUPER_ADMIN_PASSWORD: password })
      return []
    } catch (error) {
      if (error instanceof ConfigError) return error.faults
      throw error
    }
  }

  const canSignIn = async (given: Given): Promise<boolean> => {
    const { superAdminEmail, superAdminPassword } = loadConfig({
      SUPER_ADMIN_EMAIL: given.email,
      SUPER_ADMIN_PASSWORD: given.password,
    })
    const { db, passwords } = server.running.deps
    const [email, password] = [superAdminEmail ?? '', superAdminPassword ?? '']
    await createSuperAdmin(db, passwords, { email, fullName: 'Super Admin', password })
    // With the values as they were set.
    const { status } = await createClient(server.url).post('/auth/login', given)
    await db.write('system', renamed(email))
    return status === 200
  }

  test('can sign in with every value that the settings take; the others are refused in one sentence', async () => {
    const [taken, cannot, guessable]: [Given[], Given[], string[]] = [[], [], []]
    for (const given of settings) {
      const faults = faultsOf(given)
      if (faults.length > 0) {
        expect(faults).toEqual([
          expect.stringMatching(/^SUPER_ADMIN_(EMAIL|PASSWORD) must (not )?(be|have|end) .+/),
        ])
        continue
      }
      taken.push(given)
      const outcome = await canSignIn(given).catch((error: Error) => error.message)
      if (outcome === false) cannot.push(given)
      if (typeof outcome !== 'string') continue
      expect(outcome).toStartWith('password: ')
      guessable.push(given.password)
    }
    expect(cannot).toEqual([])
    // Refused at start, not by the settings.
    expect(guessable).toEqual(['        ', 'password1', 'zzzzzzzz', 'chef@shop.example', 'CHEF@shop.example'])
    // Neither refused one and all.
    expect(taken.length).toBeGreaterThan(20)
    expect(settings.length - taken.length).toBeGreaterThan(20)
  })

  test('is not created with an address that a tenant’s user has verified, and the start says so', async () => {
    const { admin } = await makeTenant(server)
    const { db, passwords } = server.running.deps
    await db.write('system', allAre('tenant_admin'))
    const first = { email: admin.email, password: goodPassword }
    const start = ensureSuperAdmin(db, passwords, first, false)
    await expect(start).rejects.toThrow(`minimart release-address ${admin.email}`)
    await db.write('system', allAre('super_admin'))
    expect(await ensureSuperAdmin(db, passwords, { ...first, email: freshEmail() }, false)).toBeNull()
  })
})
