/** Generated slugs: from the tenant's name, with a number when taken, also under concurrency. */
import { expect, test } from 'bun:test'
import { freshEmail, goodPassword, superAdmin } from '../../support/people.ts'
import { describeBackends, describeFull, sharedServer } from '../../support/server.ts'

const account = () => ({ email: freshEmail('admin'), full_name: 'An Admin', password: goodPassword })

describeBackends('a slug', (backend) => {
  const make = async (name: string, slug?: string) => {
    const root = await superAdmin(await sharedServer(backend))
    return root.api.post('/tenants', { name, admin: account(), ...(slug === undefined ? {} : { slug }) })
  }
  const slugOf = async (name: string): Promise<string> => (await make(name)).body.slug

  test("consists of the name's letters and digits", async () => {
    const expected = {
      'Corner Shop No. 5': 'corner-shop-no-5',
      '  --Hello,   World!!-- ': 'hello-world',
      'Crème Brûlée & Söhne': 'creme-brulee-sohne',
      'Smørrebrød Łódź Straße': 'smorrebrod-lodz-strasse',
      "Ann's and Ben’s": 'anns-and-bens',
      'ﬁnest ②': 'finest-2',
    }
    for (const [name, slug] of Object.entries(expected)) expect(await slugOf(name)).toBe(slug)
  })

  test('is generated even for names without such letters', async () => {
    expect(await slugOf('食料品店')).toMatch(/^tenant(-\d+)?$/)
    expect(await slugOf('🛒🛒')).toMatch(/^tenant-\d+$/)
    expect(await slugOf('Мой магазин')).toMatch(/^tenant-\d+$/)
  })

  test('is never too long', async () => {
    const long = `${'very long name '.repeat(17)}`.trim()
    const slugs = [await slugOf(long), await slugOf(long)]
    for (const slug of slugs) expect(slug).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
    expect(new Set(slugs).size).toBe(2)
  })

  test('gets the next number when it is taken', async () => {
    const name = `Twin ${crypto.randomUUID()}`
    const first = await slugOf(name)
    expect(first).toBe(name.toLowerCase().replaceAll(' ', '-'))
    expect(await slugOf(name)).toBe(`${first}-2`)
    expect((await make('Any', `${first}-3`)).status).toBe(201)
    expect(await slugOf(`${name} 3`)).toBe(`${first}-3-2`)
    expect(await slugOf(name)).toBe(`${first}-4`)
  })

  test('given explicitly is used as it is, or refused', async () => {
    const slug = `given-${crypto.randomUUID()}`
    expect((await make('Any', slug)).body.slug).toBe(slug)
    expect((await make('Any', slug)).body).toMatchObject({ status: 409, code: 'slug_taken' })
    expect((await make('Any', 'minimart-platform')).status).toBe(409)
    for (const wrong of ['', 'Upper', '-a', 'a-', 'a b', 'ä', 'a_b', 'a.b', 'x'.repeat(64)]) {
      const refused = await make('Any', wrong)
      expect(refused.status, wrong).toBe(422)
      expect(refused.body.errors[0].field).toBe('slug')
    }
  })
})

describeFull('slugs under concurrency on PostgreSQL', () => {
  const race = async (bodies: object[]) => {
    const root = await superAdmin(await sharedServer('full'))
    return Promise.all(bodies.map((body) => root.api.post('/tenants', { admin: account(), ...body })))
  }

  test('ten tenants created concurrently with one name get ten slugs', async () => {
    const name = `Raced ${crypto.randomUUID()}`
    const answers = await race(Array.from({ length: 10 }, () => ({ name })))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(201))
    const base = name.toLowerCase().replace(' ', '-')
    const expected = [base, ...Array.from({ length: 9 }, (_, index) => `${base}-${index + 2}`)]
    expect(answers.map(({ body }) => body.slug).sort()).toEqual(expected.sort())
  })

  test('of ten that ask for one slug concurrently, one gets it', async () => {
    const slug = `raced-${crypto.randomUUID()}`
    const answers = await race(Array.from({ length: 10 }, () => ({ name: 'Raced', slug })))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(answers.filter(({ body }) => body.code === 'slug_taken')).toHaveLength(9)
  })

  test('a tenant without a slug is created even when others take the slug it was to get', async () => {
    for (let round = 0; round < 5; round++) {
      const base = `mixed-${crypto.randomUUID()}`
      const slugs = [base, `${base}-2`, `${base}-3`]
      const answers = await race([
        ...slugs.map((slug) => ({ name: 'Other', slug })),
        ...slugs.map(() => ({ name: base })),
      ])
      expect(answers.slice(3).map(({ status }) => status)).toEqual([201, 201, 201])
      const given = answers.filter(({ status }) => status === 201).map(({ body }) => body.slug)
      expect(new Set(given).size).toBe(given.length)
    }
  })

  test('of ten tenants created concurrently with one admin, as many are created as may wait for the address', async () => {
    const name = `One ${crypto.randomUUID()}`
    const admin = account()
    const answers = await race(
      Array.from({ length: 10 }, (_, index) => ({ name: `${index} ${name}`, admin })),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(5)
    expect(answers.filter(({ body }) => body.code === 'email_taken')).toHaveLength(5)
    const root = await superAdmin(await sharedServer('full'))
    expect((await root.api.get(`/tenants?search=${encodeURIComponent(name)}`)).body.data).toHaveLength(5)
  })
})
