import type { AppEnv, Deps } from '../_shared/context.ts'
import type { WithObjects } from '../_shared/sources.ts'

/** Dependencies of the function `sources`. */
export type SourcesDeps = Deps & WithObjects
export type SourcesEnv = AppEnv<SourcesDeps>
