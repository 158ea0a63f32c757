import type { Snapshot } from './snapshot-file.ts'
import type { SessionDatabase } from './database.ts'
import { openNative } from './native.ts'
import { openPglite, PgliteDatabase } from './pglite.ts'

export type OpenOptions = {
  /** A native server, if set; PGlite otherwise. */
  databaseUrl?: string | undefined
  /** PGlite's folder; undefined keeps the data in memory. */
  dataDir?: string | undefined
  /** A PGlite snapshot to start from. */
  snapshot?: Snapshot | undefined
}

/** Opens the database of a stack. @throws an Error that says what is wrong. */
export const openDatabase = async ({ databaseUrl, dataDir, snapshot }: OpenOptions): Promise<SessionDatabase> =>
  databaseUrl ? openNative({ url: databaseUrl }) : openPglite({ dataDir, snapshot })

export { PgliteDatabase }
