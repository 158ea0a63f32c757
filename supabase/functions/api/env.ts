import type { AppEnv, Deps } from '../_shared/context.ts'
import type { WithModels } from '../_shared/providers/index.ts'
import type { WithObjects } from '../_shared/sources.ts'

/** Dependencies of the function `api`. */
export type ApiDeps = Deps & WithObjects & WithModels
export type ApiEnv = AppEnv<ApiDeps>
