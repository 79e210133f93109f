/**
 * The format of a tenant's archive, JSON Lines in UTF-8: a header, one line per row, a trailer.
 *
 *   {"minimart":"archive","version":2,"program":"0.1.0","tenant":{"id","slug","name"},"credentials":false}
 *   {"table":"users","id":"…",…}
 *   {"minimart":"end","rows":{"users":3,…},"sha256":"…","exported_at":"…"}
 *
 * Tables come in the order of `archiveTables`, rows in the order of their key, each with all of its columns by name. Rows
 * carry no tenant id: the header's applies to all of them, so no row can belong to another tenant. The checksum covers
 * every byte before the trailer, which alone has the time of the export: equal data gives equal checksums.
 *
 * Never in an archive: sessions, codes and whatever else is in the store, mails that wait to be sent, the keys that sign
 * tokens, the installation's id, the bytes that lists and tenants keep, which are counted anew, and when an installation
 * learnt of a revocation (`at`, `transaction_id`), which an import sets anew: so running instances notice the row, and
 * housekeeping keeps it for the life of the longest token.
 */
import { type Static, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { Table } from 'drizzle-orm'
import type * as schema from '../db/schema.ts'
import { eventTypes } from '../features/list-changes/events.ts'
import {
  action,
  boolean,
  type Column,
  decimal,
  email,
  integer,
  json,
  mark,
  oneOf,
  orNull,
  passwordHash,
  position,
  sha256,
  slug,
  text,
  time,
  uuid,
  uuids,
} from './columns.ts'

export const archiveVersion = 2

/** The columns that archives of format 1 lack; they are null then. */
const newInFormat2: Partial<Record<TableName, readonly string[]>> = {
  shopping_lists: ['mark', 'mark_seq'],
  list_events: ['action_id'],
}

type Tables = Extract<(typeof schema)[keyof typeof schema], Table>

/** Every table but those that hold no tenant's data, and the mails that wait, which are sent from there. */
export type TableName = Exclude<Tables['_']['name'], 'store_entries' | 'installation' | 'mail_outbox'>

/** Columns that no archive contains, `tenant_id` aside. */
interface LeftOut {
  tenants: 'kept_bytes'
  shopping_lists: 'text_bytes' | 'text_seq' | 'event_bytes' | 'counted_seq'
  revocations: 'at' | 'transaction_id'
}

type NameOf<Column> = Column extends { _: { name: infer Name extends string } } ? Name : never
type NamesIn<T> = T extends { _: { columns: infer Columns } } ? NameOf<Columns[keyof Columns]> : never
type ColumnName<Name extends TableName> = Exclude<
  NamesIn<Extract<Tables, { _: { name: Name } }>>,
  'tenant_id' | (Name extends keyof LeftOut ? LeftOut[Name] : never)
>

/** Leaves room to count on: beyond the largest integer a change would fail. */
const mostCounted = 1_000_000_000
const count = integer(0, mostCounted)

/** Types make this name every column of the schema and no other; its order is that of the archive. */
export const archiveTables = {
  tenants: {
    key: ['id'],
    columns: {
      id: uuid,
      name: text(1, 255),
      slug,
      is_active: boolean,
      epoch: count,
      created_at: time,
      updated_at: time,
    },
  },
  users: {
    key: ['id'],
    columns: {
      id: uuid,
      email,
      full_name: text(1, 255),
      role: oneOf('tenant_admin', 'member'),
      password_hash: passwordHash,
      is_active: boolean,
      email_verified: boolean,
      token_epoch: count,
      session_epoch: count,
      removal_announced_at: orNull(time),
      created_at: time,
      updated_at: time,
    },
  },
  shopping_lists: {
    key: ['id'],
    columns: {
      id: uuid,
      name: text(1, 255),
      description: orNull(text(0, 2000, { lines: true })),
      owner_id: uuid,
      created_by: uuid,
      seq: integer(0, Number.MAX_SAFE_INTEGER),
      mark: orNull(mark),
      mark_seq: orNull(integer(0, Number.MAX_SAFE_INTEGER)),
      version: integer(1, mostCounted),
      item_count: integer(0, 5000),
      pending_count: integer(0, 5000),
      created_at: time,
      updated_at: time,
      deleted_at: orNull(time),
    },
  },
  list_members: {
    key: ['list_id', 'user_id'],
    columns: {
      list_id: uuid,
      user_id: uuid,
      role: oneOf('owner', 'editor', 'viewer'),
      joined_at: time,
    },
  },
  items: {
    key: ['id'],
    columns: {
      id: uuid,
      list_id: uuid,
      name: text(1, 255),
      quantity: decimal,
      unit: orNull(text(0, 32)),
      note: orNull(text(0, 2000, { lines: true })),
      category: orNull(text(0, 64)),
      status: oneOf('pending', 'purchased'),
      position,
      added_by: uuid,
      updated_by: uuid,
      purchased_by: orNull(uuid),
      purchased_at: orNull(time),
      version: integer(1, mostCounted),
      created_at: time,
      updated_at: time,
      deleted_at: orNull(time),
    },
  },
  list_events: {
    key: ['list_id', 'seq'],
    columns: {
      list_id: uuid,
      seq: integer(1, Number.MAX_SAFE_INTEGER),
      type: oneOf(...eventTypes),
      payload: json,
      actor_id: uuid,
      action_id: orNull(uuid),
      at: time,
    },
  },
  keyed_calls: {
    key: ['key', 'user_id'],
    columns: {
      key: uuid,
      user_id: uuid,
      method: oneOf('POST', 'PATCH', 'DELETE'),
      path: text(1, 255),
      body_hash: sha256,
      list_id: uuid,
      subjects: uuids,
      at: time,
    },
  },
  revocations: {
    key: ['subject'],
    columns: {
      subject: uuid,
      minimum_epoch: count,
      spared_session: orNull(uuid),
      spared_epoch: orNull(count),
    },
  },
  spent_invitations: {
    key: ['invitation_id'],
    columns: { invitation_id: uuid, at: time },
  },
  refusal_counts: {
    key: ['id'],
    columns: {
      id: uuid,
      hour: time,
      subject: text(1, 255),
      action,
      reason: text(0, 64),
      count,
      listed: boolean,
      last_at: time,
    },
  },
  audit_log: {
    key: ['id'],
    columns: {
      id: uuid,
      at: time,
      action,
      actor_id: orNull(uuid),
      actor_role: orNull(oneOf('super_admin', 'tenant_admin', 'member')),
      target_type: orNull(text(1, 64)),
      target_id: orNull(uuid),
      details: json,
      address: orNull(text(0, 255)),
      request_id: orNull(text(0, 255)),
    },
  },
} as const satisfies {
  readonly [Name in TableName]: {
    readonly key: readonly ColumnName<Name>[]
    readonly columns: { readonly [column in ColumnName<Name>]: Column }
  }
}

export const isTableName = (name: unknown): name is TableName =>
  typeof name === 'string' && Object.hasOwn(archiveTables, name)

export const tableNames = Object.keys(archiveTables).filter(isTableName)

/** Only in archives with credentials. */
const credentialColumns: ReadonlySet<string> = new Set(['password_hash'])

export function columnsOf(table: TableName, credentials: boolean): [name: string, column: Column][] {
  const columns: Readonly<Record<string, Column>> = archiveTables[table].columns
  return Object.entries(columns).filter(([name]) => credentials || !credentialColumns.has(name))
}

/** What an archive with this header has of a table. */
export const columnsIn = (
  { version, credentials }: Header,
  table: TableName,
): [name: string, column: Column][] =>
  columnsOf(table, credentials).filter(
    ([name]) => version === archiveVersion || !newInFormat2[table]?.includes(name),
  )

export interface ArchivedTenant {
  id: string
  slug: string
  name: string
}

export type RowCounts = Record<TableName, number>

export const noRows = (): RowCounts => ({
  tenants: 0,
  users: 0,
  shopping_lists: 0,
  list_members: 0,
  items: 0,
  list_events: 0,
  keyed_calls: 0,
  revocations: 0,
  spent_invitations: 0,
  refusal_counts: 0,
  audit_log: 0,
})

export const allRows = (counts: RowCounts): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0)

const strict = { additionalProperties: false }

const header = Type.Object(
  {
    minimart: Type.Literal('archive'),
    version: Type.Union([Type.Literal(1), Type.Literal(archiveVersion)]),
    /** The release that wrote it. */
    program: Type.String(),
    tenant: Type.Object(
      { id: Type.Unsafe<string>(uuid.schema), slug: Type.Unsafe<string>(slug.schema), name: Type.String() },
      strict,
    ),
    /** Whether users have their password hashes. */
    credentials: Type.Boolean(),
  },
  strict,
)
const trailer = Type.Object({
  minimart: Type.Literal('end'),
  rows: Type.Unsafe<RowCounts>(Type.Record(Type.String(), Type.Integer())),
  /** Of every byte before this line, in hex. */
  sha256: Type.String(),
  exported_at: Type.String(),
})

export type Header = Static<typeof header>
export type Trailer = Static<typeof trailer>
export const Header = TypeCompiler.Compile(header)
export const Trailer = TypeCompiler.Compile(trailer)
