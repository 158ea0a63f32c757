import type { AppEnv, Deps, WithObjects } from '../_shared/context.ts'

/** Dependencies of the function `sources`. */
export type SourcesDeps = Deps & WithObjects
export type SourcesEnv = AppEnv<SourcesDeps>
