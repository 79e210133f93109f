/** Lists, members, items and events on the wire. Each function takes the alias of a row in the statement around it. */
import { type SQL, sql } from 'drizzle-orm'
import { items, listEvents, listMembers, shoppingLists, users } from '../../db/schema.ts'
import { rowJson, wireColumns } from '../../db/wire-json.ts'

export const listColumns = [
  'id',
  'name',
  'description',
  'ownerId',
  'seq',
  'version',
  'createdAt',
  'updatedAt',
  'deletedAt',
] as const satisfies readonly (keyof typeof shoppingLists.$inferSelect)[]

/** @param more further columns, as in a select list */
export const listJson = (l: string, more?: SQL): SQL => {
  const columns = wireColumns(shoppingLists, l, ...listColumns)
  return rowJson(more ? sql`${columns}, ${more}` : columns)
}

/** @param m a membership @param u its user */
export const memberJson = (m: string, u: string): SQL =>
  rowJson(sql`${wireColumns(listMembers, m, 'userId')}, ${wireColumns(users, u, 'fullName', 'email')},
    ${wireColumns(listMembers, m, 'role', 'joinedAt')}`)

export const itemColumns = [
  'id',
  'listId',
  'name',
  'quantity',
  'unit',
  'note',
  'category',
  'status',
  'position',
  'addedBy',
  'updatedBy',
  'purchasedBy',
  'purchasedAt',
  'version',
  'createdAt',
  'updatedAt',
] as const satisfies readonly (keyof typeof items.$inferSelect)[]

export const itemJson = (i: string): SQL => rowJson(wireColumns(items, i, ...itemColumns))

export const eventJson = (e: string): SQL =>
  rowJson(wireColumns(listEvents, e, 'type', 'payload', 'seq', 'at', 'actorId'))
