import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The files that take longest, in that order. What begins last must not be what takes longest. */
const LONG = [
  'worker/ingestion',
  'worker/reembed',
  'worker/kill',
  'stack/process',
  'isolation/silence',
  'isolation/attacker',
  'client/typed-client',
  'functions/chat',
  'console/tenancy',
  'functions/search-requests',
  'console/chat',
  'integration/two-tenants',
  'worker/run-kill',
  'console/documents',
  'functions/execution/takeover',
  'worker/limits',
  'stack/durability',
  'functions/api-run-events',
  'console/serving',
  'worker/memories',
  'functions/tools/database-values',
  'isolation/plans',
  'isolation/inside-a-tenant',
  'worker/page-images',
  'worker/strategies-indexing',
  'functions/attacks/approvals',
  'functions/api-run-streams',
  'stack/realtime-runs',
  'functions/tools/knowledge-search',
  'worker/graphs',
  'console/runs',
  'functions/sources',
]

/** The long ones first, then the others as usual. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((file) => moduleId.endsWith(`/tests/${file}.test.ts`))
      return at < 0 ? LONG.length : at
    }
    return (await super.sort(files)).sort((one, other) => place(one) - place(other))
  }
}

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    setupFiles: ['tests/support/leave-nothing.ts'],
    // For the programs that tests start: what Node has compiled once, types taken out, it does not compile again.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/bulkhead-compiled') },
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // One worker runs many files: most start a database in their own process, and a process that has done so before does it
    // with a quarter of the work, the engine being compiled and its busy parts optimized. A file leaves nothing behind that
    // another could see: each has a stack of its own, and puts back the globals it replaces.
    isolate: false,
    // Room for what a request leaves behind, so that it is cleared away a quarter as often.
    execArgv: ['--max-semi-space-size=64'],
    // Two cores, and files that wait for leases, polls and browsers much of the time.
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
  },
})
