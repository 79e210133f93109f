/** CONTRACT section 2, verbatim, and how to read its cells. The routes of each action are in table.ts. */

const contract = `
| Action | super_admin | tenant_admin | list owner | editor | viewer |
|---|---|---|---|---|---|
| Tenants: create, list, read, update, deactivate | yes | no | no | no | no |
| Users of a tenant: create, update, deactivate | no | own tenant | no | no | no |
| Users of a tenant: list | no | all, with status | active ones: id, full_name, email | same | same |
| Create a list | no | yes | – | – | – (every member may create lists; the creator is its owner) |
| See a list and its items, subscribe to it | no | every list of the tenant | yes | yes | yes |
| Rename, delete, restore a list; invite; remove members; change member roles | no | yes | yes | no | no |
| Add, change, delete items | no | yes | yes | yes | no |
| Leave a list | – | – | no, until ownership is handed over (409 \`owner_must_hand_over\`) | yes | yes |
`

const columns = ['super_admin', 'tenant_admin', 'owner', 'editor', 'viewer'] as const
export type Column = (typeof columns)[number]

export type Cells = Record<Column, string>

export const rows: ReadonlyMap<string, Cells> = new Map(
  contract
    .trim()
    .split('\n')
    .slice(2)
    .map((line) => {
      const [action = '', ...cells] = line.slice(2, -2).split(' | ')
      const at = (column: Column): string => cells[columns.indexOf(column)] ?? ''
      return [
        action,
        {
          super_admin: at('super_admin'),
          tenant_admin: at('tenant_admin'),
          owner: at('owner'),
          editor: at('editor'),
          viewer: at('viewer'),
        },
      ]
    }),
)

/** `no` may name its own status; for a dash the action decides. */
export function statusOfCell(cell: string, allowed: number, dash: number): number {
  if (cell.startsWith('–')) return dash
  if (!cell.startsWith('no')) return allowed
  return Number(/\((4\d\d) /.exec(cell)?.[1] ?? 403)
}
