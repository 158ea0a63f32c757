import type { ProjectConfig } from '../config.ts'
import { bootstrap } from './bootstrap.ts'
import type { SessionDatabase } from './database.ts'
import { applyMigrations, applySeeds } from './migrations.ts'

/**
 * Brings a database, new or old, to what the project folder says.
 * @param signal ends it between two migrations, which the next time goes on from. @returns the files applied now.
 */
export const prepareDatabase = async (
  db: SessionDatabase,
  projectDir: string,
  project: Pick<ProjectConfig, 'seedFiles'>,
  seed: boolean,
  signal?: AbortSignal,
): Promise<{ migrations: string[]; seeds: string[] }> => {
  await bootstrap(db)
  const migrations = await applyMigrations(db, projectDir, signal)
  const seeds = seed ? await applySeeds(db, projectDir, project.seedFiles) : []
  return { migrations, seeds }
}
