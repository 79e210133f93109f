/** Every audited action: how to cause it, and the entry to expect. */
import { expect } from 'bun:test'
import type { AuditAction } from '../../../src/features/audit/entry.ts'
import { emptyArchive, entriesOf, exportText, importText } from '../../support/archive.ts'
import { login, makeUnverified, refresh, resetTokenFor, wrongCode } from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import {
  asPerson,
  freshEmail,
  goodPassword,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../../support/people.ts'
import { oncePerBackend, sharedServer, type TestServer } from '../../support/server.ts'

export interface World {
  server: TestServer
  root: Person
  tenant: Tenant
  admin: Person
}

/** The expected entry, and whose trail it is in. */
export interface Done {
  /** Who reads the trail; the tenant's admin by default. */
  reader?: Person
  target: string
  entry: Record<string, unknown>
}

const newPassword = 'another horse battery staple'
const nobody = { actor_id: null, actor_role: null, actor_email: null }
const of = ({ id, email }: Person, role = 'member') => ({
  actor_id: id,
  actor_role: role,
  actor_email: email,
})
const user = { target_type: 'user' }
const failed = (email: string, reason: string) => ({ ...nobody, ...user, details: { email, reason } })

export const worldOf = oncePerBackend(async (backend): Promise<World> => {
  const server = await sharedServer(backend)
  const tenant = await makeTenant(server, 'Watched')
  return { server, root: await superAdmin(server), tenant, admin: tenant.admin }
})

async function sharedList({ server, tenant }: World): Promise<{ id: string; owner: Person; guest: Person }> {
  const [owner, guest] = await Promise.all([makeUser(server, tenant), makeUser(server, tenant)])
  const { id } = await makeList(owner)
  await join(owner, id, guest)
  return { id, owner, guest }
}

async function invited(world: World): Promise<{ id: string; owner: Person; guest: Person; token: string }> {
  const { server, tenant } = world
  const [owner, guest] = await Promise.all([makeUser(server, tenant), makeUser(server, tenant)])
  const { id } = await makeList(owner)
  const answer = await owner.api.post(`/shopping-lists/${id}/invite`, { email: guest.email, role: 'viewer' })
  return { id, owner, guest, token: answer.body.token }
}

async function changedUser(world: World, change: object, given?: object): Promise<{ ann: Person }> {
  const ann = await makeUser(world.server, world.tenant)
  if (given) await world.admin.api.patch(`/users/${ann.id}`, given)
  expect((await world.admin.api.patch(`/users/${ann.id}`, change)).status).toBe(200)
  return { ann }
}

async function changedTenant({ root }: World, change: object, given?: object): Promise<string> {
  const admin = { email: freshEmail(), full_name: 'Admin', password: goodPassword }
  const { body } = await root.api.post('/tenants', { name: 'Changing', admin })
  if (given) await root.api.patch(`/tenants/${body.id}`, given)
  expect((await root.api.patch(`/tenants/${body.id}`, change)).status).toBe(200)
  return body.id
}

/** Not from a request: no address, no id. */
const byOperator = { ...nobody, target_type: 'tenant', address: null, request_id: null }

/** Tested elsewhere: with housekeeping, with addresses (auth/addresses.test.ts), and as counts (refusals.test.ts). */
export const testedElsewhere = [
  'user.removed',
  'user.address_released',
  'user.creation_failed',
  'auth.password_reset_failed',
  'auth.refusals_counted',
] as const satisfies AuditAction[]

type Tested = Exclude<AuditAction, (typeof testedElsewhere)[number]>

export const cases: Record<Tested, (world: World) => Promise<Done>> = {
  async 'auth.signed_in'({ server, tenant }) {
    const ann = await makeUser(server, tenant)
    const session = (await ann.api.get('/auth/sessions')).body.data[0].id
    return { target: session, entry: { ...of(ann), target_type: 'session' } }
  },
  async 'auth.sign_in_failed'({ server, tenant }) {
    const ann = await makeUser(server, tenant)
    expect((await login(server, ann.email, 'a wrong password')).status).toBe(401)
    return { target: ann.id, entry: failed(ann.email, 'invalid_credentials') }
  },
  async 'auth.signed_out'({ server, tenant }) {
    const ann = await makeUser(server, tenant)
    const session = (await ann.api.get('/auth/sessions')).body.data[0].id
    await ann.api.post('/auth/logout')
    return { target: session, entry: { ...of(ann), target_type: 'session' } }
  },
  async 'auth.session_ended'({ server, tenant }) {
    const ann = await makeUser(server, tenant)
    const other = (await ann.api.get('/auth/sessions')).body.data[0].id
    const again = await asPerson(server, ann.email, goodPassword)
    expect((await again.api.delete(`/auth/sessions/${other}`)).status).toBe(204)
    return { target: other, entry: { ...of(ann), target_type: 'session' } }
  },
  async 'auth.refresh_token_reused'({ server, tenant }) {
    const ann = await makeUser(server, tenant)
    const { body } = await refresh(server, ann.refreshToken)
    await refresh(server, body.refresh_token)
    expect((await refresh(server, ann.refreshToken)).body.code).toBe('refresh_token_reused')
    return { target: ann.id, entry: { ...nobody, ...user } }
  },
  async 'auth.email_verified'({ server, tenant }) {
    const ann = await makeUnverified(server, tenant)
    const given = { email: ann.email, otp: ann.code }
    expect((await createClient(server.url).post('/auth/verify-email', given)).status).toBe(200)
    return { target: ann.id, entry: { ...nobody, ...user, details: { email: ann.email } } }
  },
  async 'auth.verification_failed'({ server, tenant }) {
    const ann = await makeUnverified(server, tenant)
    await createClient(server.url).post('/auth/verify-email', { email: ann.email, otp: wrongCode(ann.code) })
    return { target: ann.id, entry: failed(ann.email, 'otp_invalid') }
  },
  async 'auth.password_changed'({ server, tenant }) {
    const ann = await makeUser(server, tenant)
    const change = { current_password: goodPassword, new_password: newPassword }
    expect((await ann.api.post('/auth/change-password', change)).status).toBe(204)
    return { target: ann.id, entry: { ...of(ann), ...user } }
  },
  async 'auth.password_change_failed'({ server, tenant }) {
    const ann = await makeUser(server, tenant)
    const change = { current_password: 'a wrong password', new_password: newPassword }
    expect((await ann.api.post('/auth/change-password', change)).status).toBe(400)
    return { target: ann.id, entry: failed(ann.email, 'current_password_wrong') }
  },
  async 'auth.password_reset_requested'({ server, tenant }) {
    const ann = await makeUser(server, tenant)
    await resetTokenFor(server, ann.email)
    return { target: ann.id, entry: { ...nobody, ...user } }
  },
  async 'auth.password_reset'({ server, tenant }) {
    const ann = await makeUser(server, tenant)
    const token = await resetTokenFor(server, ann.email)
    await createClient(server.url).post('/auth/reset-password', { token, new_password: newPassword })
    return { target: ann.id, entry: { ...nobody, ...user } }
  },
  async 'user.created'({ server, tenant, admin }) {
    const ann = await makeUnverified(server, tenant)
    const details = { email: ann.email, role: 'member' }
    return { target: ann.id, entry: { ...of(admin, 'tenant_admin'), ...user, details } }
  },
  async 'user.changed'(world) {
    const ann = await makeUser(world.server, world.tenant)
    expect((await ann.api.patch('/auth/me', { full_name: 'Annabel' })).status).toBe(200)
    const details = { full_name: { from: ann.fullName, to: 'Annabel' } }
    return { target: ann.id, entry: { ...of(ann), ...user, details } }
  },
  async 'user.role_changed'(world) {
    const { ann } = await changedUser(world, { role: 'tenant_admin' })
    const details = { role: { from: 'member', to: 'tenant_admin' } }
    return { target: ann.id, entry: { ...of(world.admin, 'tenant_admin'), ...user, details } }
  },
  async 'user.deactivated'(world) {
    const { ann } = await changedUser(world, { is_active: false, full_name: 'Gone' })
    const details = { full_name: { from: ann.fullName, to: 'Gone' }, is_active: { from: true, to: false } }
    return { target: ann.id, entry: { ...of(world.admin, 'tenant_admin'), ...user, details } }
  },
  async 'user.reactivated'(world) {
    const { ann } = await changedUser(world, { is_active: true }, { is_active: false })
    const details = { is_active: { from: false, to: true } }
    return { target: ann.id, entry: { ...of(world.admin, 'tenant_admin'), ...user, details } }
  },
  async 'tenant.created'(world) {
    const id = await changedTenant(world, {})
    return {
      reader: world.root,
      target: id,
      entry: { ...of(world.root, 'super_admin'), target_type: 'tenant' },
    }
  },
  async 'tenant.changed'(world) {
    const id = await changedTenant(world, { name: 'Changed' })
    const details = { name: { from: 'Changing', to: 'Changed' } }
    return { reader: world.root, target: id, entry: { ...of(world.root, 'super_admin'), details } }
  },
  async 'tenant.deactivated'(world) {
    const id = await changedTenant(world, { is_active: false })
    const details = { is_active: { from: true, to: false } }
    return { reader: world.root, target: id, entry: { ...of(world.root, 'super_admin'), details } }
  },
  async 'tenant.reactivated'(world) {
    const id = await changedTenant(world, { is_active: true }, { is_active: false })
    const details = { is_active: { from: false, to: true } }
    return { reader: world.root, target: id, entry: { ...of(world.root, 'super_admin'), details } }
  },
  async 'tenant.exported'(world) {
    const id = await changedTenant(world, {})
    const rows = entriesOf(await exportText(world.server.running.deps.db, id)).length - 2
    return { reader: world.root, target: id, entry: { ...byOperator, details: { credentials: false, rows } } }
  },
  async 'tenant.imported'(world) {
    const id = crypto.randomUUID()
    const slug = `moved-${id}`
    await importText(world.server.running.deps.db, emptyArchive({ id, slug }))
    const details = { slug, credentials: false, rows: 1 }
    return { reader: world.root, target: id, entry: { ...byOperator, details } }
  },
  async 'invitation.sent'(world) {
    const { id, owner, guest } = await invited(world)
    const details = expect.objectContaining({ email: guest.email, role: 'viewer' })
    return { target: id, entry: { ...of(owner), target_type: 'list', details } }
  },
  async 'invitation.accepted'(world) {
    const { id, guest, token } = await invited(world)
    expect((await guest.api.post('/invitations/accept', { token })).status).toBe(200)
    return { target: id, entry: { ...of(guest), target_type: 'list' } }
  },
  async 'invitation.rejected'(world) {
    const { id, guest, token } = await invited(world)
    expect((await guest.api.post('/invitations/reject', { token })).status).toBe(204)
    return { target: id, entry: { ...of(guest), target_type: 'list' } }
  },
  async 'member.role_changed'(world) {
    const { id, owner, guest } = await sharedList(world)
    await owner.api.patch(`/shopping-lists/${id}/members/${guest.id}`, { role: 'viewer' })
    const details = { list_id: id, role: { from: 'editor', to: 'viewer' } }
    return { target: guest.id, entry: { ...of(owner), ...user, details } }
  },
  async 'member.removed'(world) {
    const { id, owner, guest } = await sharedList(world)
    await owner.api.delete(`/shopping-lists/${id}/members/${guest.id}`)
    return { target: guest.id, entry: { ...of(owner), ...user, details: { list_id: id } } }
  },
  async 'member.left'(world) {
    const { id, guest } = await sharedList(world)
    await guest.api.delete(`/shopping-lists/${id}/members/${guest.id}`)
    return { target: guest.id, entry: { ...of(guest), ...user, details: { list_id: id } } }
  },
  async 'list.handed_over'(world) {
    const { id, owner, guest } = await sharedList(world)
    await owner.api.patch(`/shopping-lists/${id}/members/${guest.id}`, { role: 'owner' })
    const details = { owner_id: { from: owner.id, to: guest.id } }
    return { target: id, entry: { ...of(owner), target_type: 'list', details } }
  },
}
