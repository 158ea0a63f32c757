import { parseArgs } from 'node:util'
import { StartProblem } from './start-problem.ts'

export type StartArguments = { watch: boolean; reset: boolean; resetOnly: boolean; yes: boolean; help: boolean }

export const USAGE = `npm start                 start the local stack
npm run dev               the same, reloading functions, worker and console when their files change
npm start -- --reset      remove all local data first (asks; --yes answers)
npm run reset             remove all local data and end (-- --yes answers)

BULKHEAD_API_PORT, BULKHEAD_DB_PORT   other ports than 54321 and 54322; 0 takes any free one
BULKHEAD_DATA_DIR                     another folder than .local
DATABASE_URL                          a native PostgreSQL 17 with pgvector instead of PGlite
More in local/README.md.`

/** @throws StartProblem for arguments that do not exist */
export function parseStartArguments(args: string[]): StartArguments {
  try {
    const { values } = parseArgs({
      args,
      options: {
        watch: { type: 'boolean', default: false },
        reset: { type: 'boolean', default: false },
        'reset-only': { type: 'boolean', default: false },
        yes: { type: 'boolean', short: 'y', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    const { watch, reset, yes, help } = values
    return { watch, reset, resetOnly: values['reset-only'], yes, help }
  } catch (error) {
    throw new StartProblem(`${(error as Error).message}\n\n${USAGE}`)
  }
}
