/** The ingestion worker as a process: reads the environment, works until SIGTERM or SIGINT. */
import process from 'node:process'
import { describeError } from '../supabase/functions/_shared/errors.ts'
import { ledgerFromEnv } from '../supabase/functions/_shared/ledger.ts'
import { objectStoreFromEnv } from '../supabase/functions/_shared/object-store.ts'
import { providersFromEnv } from '../supabase/functions/_shared/providers/index.ts'
import { workerSettings } from './config.ts'
import { createLog } from './log.ts'
import { runDepsFromEnv } from './run-deps.ts'
import { startWorker } from './worker.ts'
import { createIsolatedWorkshop } from './workshop.ts'

const log = createLog((line) => process.stdout.write(`${line}\n`), { service: 'worker' })

process.on('unhandledRejection', (error) => {
  // Nothing is lost: what this process was doing is picked up when its leases run out.
  log.error('unhandled_rejection', { error: describeError(error) })
  process.exit(1)
})

try {
  const settings = workerSettings(process.env)
  const { chat, embedder, embedderFor } = providersFromEnv(process.env)
  const store = objectStoreFromEnv(process.env)
  const worker = await startWorker({
    ledger: ledgerFromEnv(process.env),
    store,
    workshop: createIsolatedWorkshop(store, settings.limits),
    embedder,
    embedderFor,
    chat,
    settings,
    runs: runDepsFromEnv(process.env, settings.name, log),
    log,
  })
  let stopping = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopping) return
      stopping = true
      void worker.stop().then(
        () => process.exit(0),
        (error: unknown) => {
          log.error('stop_failed', { error: describeError(error) })
          process.exit(1)
        },
      )
    })
  }
} catch (error) {
  log.error('start_failed', { error: describeError(error) })
  process.exit(1)
}
