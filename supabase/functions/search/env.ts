import type { AppEnv, Deps } from '../_shared/context.ts'
import type { WithSearch } from '../_shared/search.ts'

/** Dependencies of the function `search`. */
export type SearchDeps = Deps & WithSearch
export type SearchEnv = AppEnv<SearchDeps>
