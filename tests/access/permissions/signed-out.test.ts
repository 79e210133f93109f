/** Calls every protected route without a valid token, or with a role that may not use it. */
import { expect, test } from 'bun:test'
import { goodPassword } from '../../support/people.ts'
import { describeBackends, sharedServer } from '../../support/server.ts'
import { everyone, table } from './table.ts'
import { bearer, guarded, makeTarget, type Sent, sendRaw, unknownId, worldOf } from './world.ts'

describeBackends('an unauthenticated caller', (backend) => {
  test('gets 401 from every protected route, whatever else is wrong', async () => {
    const server = await sharedServer(backend)
    const { owner } = (await worldOf(backend)).people
    const good = owner.accessToken
    const attempts: [expected: string, Sent][] = [
      ['token_missing', {}],
      ['token_missing', { headers: { cookie: `access_token=${good}; token=${good}` } }],
      ['token_missing', { query: `?access_token=${good}&token=${good}&authorization=Bearer%20${good}` }],
      ['token_missing', { headers: { 'x-access-token': good, 'proxy-authorization': `Bearer ${good}` } }],
      ['token_missing', { body: JSON.stringify({ access_token: good, token: good }) }],
      ['token_invalid', { headers: { authorization: 'Bearer' } }],
      ['token_invalid', { headers: { authorization: 'Bearer nonsense' } }],
      ['token_invalid', { headers: { authorization: `Basic ${btoa(`${owner.email}:${goodPassword}`)}` } }],
    ]
    const wrong: string[] = []
    for (const route of guarded)
      for (const id of [unknownId, 'no-id'])
        for (const [expected, sent] of attempts) {
          const headers = { 'content-type': 'text/plain', ...sent.headers }
          const outcome = await sendRaw(server, route, {
            body: '{',
            ...sent,
            headers,
            params: { id, user_id: id },
          })
          if (outcome.status !== 401 || outcome.code !== expected || !outcome.headers.get('www-authenticate'))
            wrong.push(`${route} with ${JSON.stringify(sent)}: ${outcome.status} ${outcome.code}`)
        }
    expect(wrong).toEqual([])
  })

  test('cannot get in by another spelling of the path or another method', async () => {
    const { url } = await sharedServer(backend)
    const { tenant } = await worldOf(backend)
    const wrong: string[] = []
    for (const route of guarded) {
      const [method = '', pattern = ''] = route.split(' ')
      const path = pattern.replace(/:\w+/g, tenant.id)
      const spellings = [
        `${path}/`,
        `/${path}`,
        path.replace('/v1/', '/v1//'),
        path.replace('/api', '/%61pi'),
        path.replace('/api/v1', '/healthz/..%2fapi/v1'),
        path.toUpperCase(),
        `${path}?x=/healthz`,
        `${path};/healthz`,
      ]
      for (const spelling of spellings)
        for (const other of [method, method === 'GET' ? 'HEAD' : 'PUT']) {
          const { status } = await fetch(`${url}${spelling}`, { method: other })
          if (![401, 404, 405].includes(status)) wrong.push(`${other} ${spelling}: ${status}`)
        }
    }
    expect(wrong).toEqual([])
  })
})

describeBackends('a caller without the required role', (backend) => {
  test('gets 403 before ids, bodies or existence are checked', async () => {
    const server = await sharedServer(backend)
    const world = await worldOf(backend)
    const target = await makeTarget(world)
    const wrong: string[] = []
    let refusals = 0
    for (const { route, statuses, action } of table)
      for (const who of everyone) {
        const byRole = who === 'super_admin' || /^(Tenants|Users)/.test(action)
        if (!byRole || statuses[who] !== 403) continue
        const { accessToken } = world.people[who]
        for (const id of [target.listId, unknownId, 'no-id'])
          for (const [type, body] of [
            ['application/json', '{'],
            ['application/json', '{"no_such_field":1}'],
            ['text/plain', 'x'],
          ] as const) {
            const headers = { ...bearer(accessToken), 'content-type': type }
            const outcome = await sendRaw(server, route, { headers, params: { id, user_id: id }, body })
            refusals++
            if (outcome.status !== 403 || outcome.code !== 'forbidden')
              wrong.push(`${who}: ${route} ${id} ${body}: ${outcome.status} ${outcome.code}`)
          }
      }
    expect(wrong).toEqual([])
    expect(refusals).toBeGreaterThan(400)
  })
})
