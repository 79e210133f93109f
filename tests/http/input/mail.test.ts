/** User input in mails is plain text: it cannot add a header, address, link or markup. */
import { expect, test } from 'bun:test'
import { freshEmail, goodPassword, makeTenant, makeUser, superAdmin } from '../../support/people.ts'
import { sharedServer } from '../../support/server.ts'
import { linkIn, type ReceivedMail } from '../../support/smtp.ts'

/** Input, and how a mail shows it: on one line, at most 100 characters, and not at all where it could be a link. */
const names: [typed: string, shown: string][] = [
  ['Anna, Bcc: eve@evil', 'Anna, Bcc: eve@evil'],
  ['"Berg, Anna" <eve@evil>', '"Berg, Anna" <eve@evil>'],
  ['A; B: eve@evil;', 'A; B: eve@evil;'],
  ['=?utf-8?Q?A=0D=0ABcc:_eve=40evil?=', '= ?utf-8?Q?A=0D=0ABcc:_eve=40evil?='],
  ['Anna %0d%0aBcc: eve@evil', 'Anna %0d%0aBcc: eve@evil'],
  ['Ünal “Ö” 山田 太郎 🛒', 'Ünal “Ö” 山田 太郎 🛒'],
  ['Anna\u2028Bcc: eve@evil\u202e', 'Anna Bcc: eve@evil'],
  ['</p><script>alert(1)</script><img src=//evil/x>', '</p><script>alert(1)</script><img src=//evil/x>'],
  ['long '.repeat(51).trim(), `${'long '.repeat(20).slice(0, 99).trimEnd()}…`],
  ['Your account is locked: https://evil.example/login', ''],
  ['"><a href="https://evil.example">here</a>', ''],
  ['See www.evil.example', ''],
  ['eve@evil.example', ''],
]

const knownHeaders = [
  ...['auto-submitted', 'content-type', 'date', 'from', 'message-id', 'mime-version', 'subject', 'to'],
  ...['x-auto-response-suppress', 'x-request-id'],
]

/** Elements and addresses that the HTML part holds. */
async function markupOf({ html }: ReceivedMail): Promise<{ elements: Set<string>; links: Set<string> }> {
  const [elements, links] = [new Set<string>(), new Set<string>()]
  const reader = new HTMLRewriter().on('*', {
    element: (element) => {
      elements.add(element.tagName)
      for (const [name, value] of element.attributes)
        if (/^(href|src|action|on.*)$/.test(name)) links.add(value)
    },
  })
  await reader.transform(new Response(html)).text()
  return { elements, links }
}

async function expectPlain(mail: ReceivedMail, address: string, name: string): Promise<void> {
  expect(mail.parsed.to).toEqual([{ name, address }])
  expect(mail.parsed.from?.address).toBe('no-reply@minimart.local')
  const headers = mail.parsed.headers.map(({ key }) => key)
  expect(headers.filter((key) => !knownHeaders.includes(key))).toEqual([])
  expect(new Set(headers).size).toBe(headers.length)
  for (const line of mail.raw.split('\r\n')) expect(line.length).toBeLessThanOrEqual(998)
  const { elements, links } = await markupOf(mail)
  const harmless = 'html head meta title body table tr td div p span h1 a br tbody'.split(' ')
  expect([...elements].filter((element) => !harmless.includes(element))).toEqual([])
  const own = /\/(invite|reset-password)\?token=/.test(mail.text) ? [linkIn(mail).href] : []
  expect([...links]).toEqual(own)
}

test('names of users, lists and tenants cannot add a header, an address, a link or markup to a mail', async () => {
  const server = await sharedServer('embedded')
  const root = await superAdmin(server)
  const { admin } = await makeTenant(server)
  const guest = await makeUser(server, { id: '', name: '', admin })
  for (const [typed, shown] of names) {
    const email = freshEmail()
    await admin.api.post('/users', { email, full_name: typed, password: goodPassword })
    await expectPlain(await server.inbox.waitFor(email), email, shown)
    const firstAdmin = freshEmail()
    const made = { email: firstAdmin, full_name: typed, password: goodPassword }
    await root.api.post('/tenants', { name: typed, admin: made })
    await expectPlain(await server.inbox.waitFor(firstAdmin), firstAdmin, shown)

    const id = (await admin.api.post('/shopping-lists', { name: typed })).body.id
    await admin.api.patch('/auth/me', { full_name: typed })
    const invited = await admin.api.post(`/shopping-lists/${id}/invite`, { email: guest.email })
    const invitation = await server.inbox.waitFor(guest.email, ({ subject }) => subject.includes('list'))
    await expectPlain(invitation, guest.email, 'member')
    expect(linkIn(invitation).href).toBe(invited.body.url)
    expect(invited.body.url).toStartWith(`${server.url}/invite?token=`)
    const start = [...shown].slice(0, 50).join('')
    expect(invitation.subject.replace('= ?', '=?')).toStartWith(
      shown === ''
        ? 'Invitation to a shopping list'
        : `Invitation to the list "${start.replace('= ?', '=?')}`,
    )
    const words = invitation.text.replace(linkIn(invitation).href, '')
    expect(words).not.toMatch(/:\/\/|www\.|evil\.example/)
    expect(words).toContain(
      shown === '' ? 'A colleague invites you to a shopping list.' : 'invites you to the list',
    )
  }
})

test('a code goes to the exact address, even when another looks the same', async () => {
  const server = await sharedServer('embedded')
  const { admin } = await makeTenant(server)
  const mark = crypto.randomUUID().slice(0, 8)
  for (const email of [
    `\u0430nna${mark}@shop.example`,
    `jos\u00e9${mark}@shop.example`,
    `a+b.c${mark}@shop.example`,
  ]) {
    await admin.api.post('/users', { email, full_name: 'Anna', password: goodPassword })
    const { parsed, to } = await server.inbox.waitFor(email)
    expect([to, parsed.to?.[0]?.address]).toEqual([email, email])
  }
})
