import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The files that take longest, in that order. What begins last must not be what takes longest. */
const LONG = [
  'worker/kill',
  'worker/reembed',
  'worker/ingestion',
  'functions/search-requests',
  'isolation/silence',
  'functions/chat',
  'isolation/attacker',
  'stack/process',
  'integration/two-tenants',
  'console/tenancy',
  'console/chat',
  'isolation/inside-a-tenant',
  'console/documents',
  'worker/page-images',
  'worker/graphs',
  'worker/render',
  'worker/run-kill',
  'stack/durability',
  'worker/graph-index',
  'functions/tools/knowledge-search',
  'functions/execution/takeover',
  'worker/limits',
  'worker/memories',
  'functions/api-run-events',
  'console/search',
  'worker/hostile-text',
  'console/agents',
  'functions/search-providers',
  'functions/attacks/approvals',
  'worker/worker-function-ingestion',
  'functions/search',
  'functions/api-page-images',
  'worker/strategies-indexing',
  'functions/api-enrichment',
  'worker/chunk',
  'isolation/plans',
  'client/typed-client',
  'functions/tools/database-values',
  'functions/attacks/queue',
  'functions/sources',
  'functions/search-tree',
  'functions/api-knowledge-bases',
  'console/hostile-document',
  'console/runs',
  'console/serving',
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
