/** Ways of tampering with an archive before it is sealed again, and the error an import reports for each. */
import { type Entry, rowsOf } from '../support/archive.ts'

/** The entry of a table's first row, to be changed in place. */
const firstOf = (entries: Entry[], table: string): Entry => rowsOf(entries, table)[0] ?? {}

const elsewhere = '01890000-0000-7000-8000-00000000dead'

/** A change to an archive's entries before it is sealed again, and the import's error. */
type Change = [what: string, change: (entries: Entry[]) => unknown, error: RegExp]
export const changes: Change[] = [
  [
    'a later format',
    ([head]) => Object.assign(head ?? {}, { version: 3, program: '0.9.0' }),
    /format 3.*reads formats up to 2.*MiniMart 0\.9\.0/,
  ],
  ['no header', (all) => all.shift(), /not a MiniMart archive/],
  ['an unknown field in the header', ([head]) => Object.assign(head ?? {}, { more: 1 }), /Line 1 /],
  [
    'the platform as its tenant',
    ([head]) => Object.assign(head?.['tenant'], { id: '00000000-0000-7000-8000-000000000000' }),
    /Line 1 .*platform/,
  ],
  [
    'a tenant other than its header says',
    (all) => Object.assign(firstOf(all, 'tenants'), { id: elsewhere }),
    /Line 2 .*a tenant other than the header/,
  ],
  [
    'no tenant',
    (all) => all.splice(0, all.length, ...all.filter(({ table }) => table === undefined)),
    /lacks its tenant/,
  ],
  [
    'an unknown table',
    (all) => all.splice(3, 0, { table: 'secrets', id: elsewhere }),
    /Line 4 .*table that this release does not know/,
  ],
  [
    'an unknown column',
    (all) => Object.assign(firstOf(all, 'users'), { shoe_size: 7 }),
    /Line 3 .*column that users does not have/,
  ],
  [
    'a tenant named in a row',
    (all) => Object.assign(firstOf(all, 'items'), { tenant_id: elsewhere }),
    /Line \d+ .*column that items/,
  ],
  [
    'a missing column',
    (all) => delete firstOf(all, 'users')['session_epoch'],
    /Line 3 .*lacks the column session_epoch of users/,
  ],
  [
    'a value of another type',
    (all) => Object.assign(firstOf(all, 'items'), { quantity: 1 }),
    /Line \d+ .*quantity must be a number with 3 decimal places/,
  ],
  [
    'a super admin',
    (all) => Object.assign(firstOf(all, 'users'), { role: 'super_admin' }),
    /Line 3 .*role must be tenant_admin or member/,
  ],
  ...[
    ...['m=65537,t=2,p=1', 'm=99999,t=2,p=1', 'm=999999,t=9,p=1', 'm=19456,t=5,p=1', 'm=19456,t=2,p=5'],
    ...['m=0,t=2,p=1', 'm=7,t=1,p=1', 'm=31,t=1,p=4', 'm=19456,t=0,p=1', 'm=19456,t=2,p=0', 'm=08,t=1,p=1'],
  ].map(
    (cost): Change => [
      `a hash too costly or impossible to verify: ${cost}`,
      (all) =>
        Object.assign(firstOf(all, 'users'), {
          password_hash: String(firstOf(all, 'users')['password_hash']).replace(/m=.*p=1/, cost),
        }),
      /Line 3 .*password_hash must be an argon2id hash with m up to 65536/,
    ],
  ),
  [
    'a hash of another argon2 version',
    (all) =>
      Object.assign(firstOf(all, 'users'), {
        password_hash: String(firstOf(all, 'users')['password_hash']).replace('v=19', 'v=16'),
      }),
    /Line 3 .*password_hash/,
  ],
  ...['a', '0abc', 'b0', 'a00', 'zz', '', 'a-'].map(
    (position): Change => [
      `a position that is no valid fractional index: ${position}`,
      (all) => Object.assign(firstOf(all, 'items'), { position }),
      /Line \d+ .*position must be a fractional-index key/,
    ],
  ),
  [
    'an email address in upper case',
    (all) => Object.assign(firstOf(all, 'users'), { email: 'Ann@shop.example' }),
    /Line 3 .*email must be/,
  ],
  [
    'control characters',
    (all) => Object.assign(firstOf(all, 'items'), { name: 'a\u0000b' }),
    /Line \d+ .*name must be text/,
  ],
  [
    'half a surrogate pair',
    (all) => Object.assign(firstOf(all, 'items'), { name: '\ud83e' }),
    /lines \d+ to \d+ .*row of items with a value that the database does not accept/,
  ],
  [
    'a date that does not exist',
    (all) => Object.assign(firstOf(all, 'items'), { created_at: '2026-02-31T00:00:00.000Z' }),
    /lines \d+ to \d+ .*items/,
  ],
  [
    'a quantity of zero',
    (all) => Object.assign(firstOf(all, 'items'), { quantity: '0.000' }),
    /lines \d+ to \d+ .*table does not accept/,
  ],
  ['a row twice', (all) => all.splice(4, 0, { ...all[3] }), /Line 5 .*each once/],
  ['rows out of order', (all) => all.splice(2, 2, ...[all[3] ?? {}, all[2] ?? {}]), /Line 4 .*sorted by key/],
  [
    'tables out of order',
    (all) => all.splice(2, 0, firstOf(all, 'audit_log')),
    /Line 4 .*row of users after those of audit_log/,
  ],
  [
    'an item of a missing list',
    (all) => Object.assign(firstOf(all, 'items'), { list_id: elsewhere }),
    /row of items that refers to something/,
  ],
  [
    'an event of another list',
    (all) => Object.assign(firstOf(all, 'list_events')['payload'], { list_id: elsewhere }),
    /Line \d+ .*payload belongs to another list/,
  ],
  [
    'an item bought by an unknown user',
    (all) => Object.assign(firstOf(all, 'items'), { purchased_by: elsewhere }),
    /changed or bought by someone/,
  ],
  [
    'an event by an unknown user',
    (all) => Object.assign(firstOf(all, 'list_events'), { actor_id: elsewhere }),
    /events of someone/,
  ],
  [
    'a missing item',
    (all) => all.splice(all.indexOf(firstOf(all, 'items')), 1),
    /does not have the items that it counts/,
  ],
  [
    'a gap in the events',
    (all) => all.splice(all.indexOf(firstOf(all, 'list_events')) + 1, 1),
    /without a gap/,
  ],
  ['a list ahead of its events', (all) => (firstOf(all, 'shopping_lists')['seq'] += 1), /without a gap/],
  [
    'a list without an owner',
    (all) =>
      Object.assign(rowsOf(all, 'list_members').find(({ role }) => role === 'owner') ?? {}, {
        role: 'editor',
      }),
    /one owner/,
  ],
]
