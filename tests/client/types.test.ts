/** The client writes the wire's types out; here the compiler holds them against the server's schemas. */
import { expect, test } from 'bun:test'
import type { Static } from '@sinclair/typebox'
import type * as client from '../../src/client/index.ts'
import type { ServerAnswer } from '../../src/client/messages.ts'
import type * as auth from '../../src/features/auth/model.ts'
import type * as items from '../../src/features/items/model.ts'
import type * as lists from '../../src/features/lists/model.ts'
import type * as tenants from '../../src/features/tenants/model.ts'
import type * as users from '../../src/features/users/model.ts'
import type * as protocol from '../../src/realtime/protocol.ts'
import { events } from '../../src/realtime/protocol.ts'

/** Written in the same way: intersections are flattened, so that only the fields count. */
type Flat<T> = T extends object ? { [K in keyof T]: Flat<T[K]> } : T
type Same<A, B> =
  (<T>() => T extends Flat<A> ? 1 : 2) extends <T>() => T extends Flat<B> ? 1 : 2 ? true : false

const same = <A, B>(_: Same<A, B>): void => undefined

same<client.User, Static<typeof auth.User>>(true)
same<client.Tokens, Static<typeof auth.Tokens>>(true)
same<client.Session, Static<typeof auth.SessionView>>(true)
same<client.Tenant, Static<typeof tenants.Tenant>>(true)
same<client.CreatedTenant, Static<typeof tenants.CreatedTenant>>(true)
same<client.TenantDetail, Static<typeof tenants.TenantDetail>>(true)
same<client.NewTenant, Static<typeof tenants.NewTenant>>(true)
same<client.TenantChange, Static<typeof tenants.TenantChange>>(true)
same<client.Colleague, Static<typeof users.Colleague>>(true)
same<client.NewUser, Static<typeof users.NewUser>>(true)
same<client.UserChange, Static<typeof users.UserChange>>(true)
same<client.List, Static<typeof lists.List>>(true)
same<client.ListSummary, Static<typeof lists.ListSummary>>(true)
same<client.ListDetail, Static<typeof lists.ListDetail>>(true)
same<client.Page<client.ListSummary>, Static<typeof lists.ListPage>>(true)
same<client.Member, Static<typeof lists.Member>>(true)
same<client.MemberRole, Static<typeof lists.MemberChange>['role']>(true)
same<client.NewList, Static<typeof lists.NewList>>(true)
same<client.ListFieldsChange, Static<typeof lists.ListFieldsChange>>(true)
same<client.Invitation, Static<typeof lists.Invitation>>(true)
same<client.InvitationPreview, Static<typeof lists.InvitationPreview>>(true)
same<client.Item, Static<typeof items.Item>>(true)
same<client.NewItem, Static<typeof items.NewItem>>(true)
same<client.ItemChange, Static<typeof items.ItemChange>>(true)
same<client.SocketErrorCode, protocol.SocketErrorCode>(true)

type Named<T, N extends string> = Extract<T, { type: N }>
same<Named<ServerAnswer, 'connected'>, Static<typeof protocol.Connected>>(true)
same<Named<ServerAnswer, 'subscribed'>, Static<typeof protocol.Subscribed>>(true)
same<Named<ServerAnswer, 'resync_required'>, Static<typeof protocol.ResyncRequired>>(true)
same<Named<ServerAnswer, 'unsubscribed'>, Static<typeof protocol.Unsubscribed>>(true)
same<Named<ServerAnswer, 'authenticated'>, Static<typeof protocol.Authenticated>>(true)
same<Named<ServerAnswer, 'token_expiring'>, Static<typeof protocol.TokenExpiring>>(true)
const sendable = (message: client.ClientMessage): protocol.ClientMessage => message

// A check that could not fail would hold nothing.
// @ts-expect-error a field less
same<Omit<client.Item, 'note'>, Static<typeof items.Item>>(true)

test('every event of the protocol is one that the client knows, and the other way round', () => {
  const known: Record<client.EventType, string[]> = {
    item_added: ['item'],
    item_updated: ['changed', 'item'],
    item_deleted: ['item_id'],
    member_joined: ['member'],
    member_updated: ['member'],
    member_left: ['user_id'],
    member_removed: ['user_id'],
    list_updated: ['list'],
    list_deleted: ['list'],
    list_restored: ['list'],
  }
  const stated = events.map(({ title, properties }) => {
    const { list_id: _, ...payload } = properties.payload.properties
    return [title ?? '', Object.keys(payload).sort()]
  })
  expect(Object.fromEntries(stated)).toEqual(known)
  expect(sendable({ type: 'ping' })).toEqual({ type: 'ping' })
})

test('the client brings nothing of the server or of others into a browser', async () => {
  const built = await Bun.build({
    entrypoints: [new URL('../../src/client/index.ts', import.meta.url).pathname],
    target: 'browser',
    metafile: true,
  })
  const inputs = Object.keys(built.metafile?.inputs ?? {})
  expect(inputs.length).toBeGreaterThan(5)
  expect(inputs.filter((path) => !/src\/client\/[\w-]+\.ts$/.test(path))).toEqual([])
})
