import type { AppEnv, Deps } from '../_shared/context.ts'
import type { WithChat } from '../_shared/providers/index.ts'
import type { WithSearch } from '../_shared/search.ts'
import type { WithObjects } from '../_shared/sources.ts'

/** Dependencies of the function `api`. */
export type ApiDeps = Deps & WithObjects & WithChat & WithSearch
export type ApiEnv = AppEnv<ApiDeps>
