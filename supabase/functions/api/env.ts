import type { AppEnv, Deps, WithModels, WithObjects } from '../_shared/context.ts'

/** Dependencies of the function `api`. */
export type ApiDeps = Deps & WithObjects & WithModels
export type ApiEnv = AppEnv<ApiDeps>
