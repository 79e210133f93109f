import type { PublicAuthDeps } from './features/auth/routes.ts'
import type { InvitationDeps } from './features/invitations/service.ts'
import type { ItemDeps } from './features/items/routes.ts'
import type { ListDeps } from './features/lists/routes.ts'
import type { UserDeps } from './features/users/service.ts'

/** What the features are built on: the sum of what each of them names, made once by open-deps.ts. */
export interface Deps extends PublicAuthDeps, UserDeps, InvitationDeps, ItemDeps, ListDeps {}
