import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The files that take longest, in that order. What begins last must not be what takes longest. */
const LONG = [
  'stack/process',
  'worker/reembed',
  'worker/ingestion',
  'worker/kill',
  'isolation/attacker',
  'console/tenancy',
  'console/chat',
  'worker/run-kill',
  'worker/strategies-indexing',
  'functions/api-page-images',
  'worker/graph-index',
  'worker/page-images',
  'functions/search-requests',
  'isolation/inside-a-tenant',
  'isolation/silence',
  'console/documents',
  'integration/two-tenants',
  'stack/durability',
  'functions/execution/takeover',
  'client/typed-client',
  'worker/worker-function-ingestion',
  'functions/attacks/approvals',
  'functions/chat',
  'console/agents',
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
    // Two cores, and files that wait for leases, polls and browsers much of the time.
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
  },
})
