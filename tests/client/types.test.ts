/** The client's types are derived from the server's schemas; the compiler checks what a client relies on. */
import { expect, test } from 'bun:test'
import type * as client from '../../src/client/index.ts'
import { events } from '../../src/realtime/protocol.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Whether a type is `any` or `unknown`, as that of a schema that lost its type would be. */
type IsVague<T> = 0 extends 1 & T ? true : unknown extends T ? true : false
type VagueFields<T> = { [K in keyof T]-?: IsVague<T[K]> extends true ? K : never }[keyof T]

const same = <A, B>(_: Same<A, B>): void => undefined
const precise = <T extends object>(_: Same<IsVague<T> extends true ? 'T' : VagueFields<T>, never>): void =>
  undefined

precise<client.User>(true)
precise<client.Tokens>(true)
precise<client.Session>(true)
precise<client.Colleague>(true)
precise<client.NewUser>(true)
precise<client.UserChange>(true)
precise<client.Tenant>(true)
precise<client.CreatedTenant>(true)
precise<client.TenantDetail>(true)
precise<client.NewTenant>(true)
precise<client.TenantChange>(true)
precise<client.List>(true)
precise<client.ListSummary>(true)
precise<client.ListDetail>(true)
precise<client.NewList>(true)
precise<client.ListFieldsChange>(true)
precise<client.Member>(true)
precise<client.Item>(true)
precise<client.NewItem>(true)
precise<client.ItemChange>(true)
precise<client.Invitation>(true)
precise<client.InvitationPreview>(true)
precise<client.Events>(true)

same<client.Item['quantity'], number>(true)
same<client.Item['unit'], string | null>(true)
same<client.Item['status'], 'pending' | 'purchased'>(true)
same<client.Item['purchased_at'], string | null>(true)
same<client.NewItem['name'], string>(true)
same<
  Pick<client.NewItem, 'quantity' | 'unit' | 'id'>,
  { quantity?: number; unit?: string | null; id?: string }
>(true)
same<client.List['seq'], number>(true)
same<client.ListDetail['items'], client.Item[]>(true)
same<client.ListDetail['members'], client.Member[]>(true)
same<client.ListRole, 'owner' | 'editor' | 'viewer' | 'tenant_admin'>(true)
same<client.MemberRole, 'owner' | 'editor' | 'viewer'>(true)
same<client.UserRole, 'super_admin' | 'tenant_admin' | 'member'>(true)
same<client.User['tenant_id'], string | null>(true)
same<client.Tokens['expires_in'], number>(true)
same<client.Tokens['user'], client.User>(true)
same<client.CreatedTenant['admin'], client.User>(true)
same<client.Invitation['role'], 'editor' | 'viewer'>(true)

type Named<T, N extends string> = Extract<T, { type: N }>
same<client.ClientMessage['type'], 'subscribe' | 'unsubscribe' | 'authenticate' | 'ping'>(true)
same<Named<client.ClientMessage, 'subscribe'>['payload'], { list_id: string; since?: number | string }>(true)
same<
  Named<client.ServerAnswer, 'subscribed'>['payload'],
  { list_id: string; seq: number; position: string; recovered: boolean }
>(true)
same<Named<client.ServerAnswer, 'connected'>['payload']['protocol'], 1>(true)
same<Named<client.ServerAnswer, 'error'>['payload']['code'], client.SocketErrorCode>(true)
same<Extract<client.SocketErrorCode, 'not_found' | 'nonsense'>, 'not_found'>(true)
same<Named<client.ListEvent, 'item_updated'>['payload']['item'], client.Item>(true)
same<Named<client.ListEvent, 'item_updated'>['payload']['changed'], string[]>(true)

// Checks that cannot fail prove nothing.
// @ts-expect-error another type
same<client.Item['quantity'], string>(true)
type Any = ReturnType<typeof JSON.parse>
// @ts-expect-error a field of any type
precise<client.Item & { note: Any }>(true)
// @ts-expect-error a field of unknown type
precise<Omit<client.Item, 'note'> & { note: unknown }>(true)
// @ts-expect-error any type
precise<Any>(true)

test('the client knows every event of the protocol, and no others', () => {
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
})

test('the client pulls no server code and no dependency into a browser', async () => {
  const built = await Bun.build({
    entrypoints: [new URL('../../src/client/index.ts', import.meta.url).pathname],
    target: 'browser',
    metafile: true,
  })
  const inputs = Object.keys(built.metafile?.inputs ?? {})
  expect(inputs.length).toBeGreaterThan(5)
  expect(inputs.filter((path) => !/src\/client\/[\w-]+\.ts$/.test(path))).toEqual([])
})
