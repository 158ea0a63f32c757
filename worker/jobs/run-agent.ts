import type { RunExecutor } from '../run-executor.ts'
import type { Delivery, JobContext } from './context.ts'

/**
 * Word that a run may be due. Which one is taken up, the database decides: the job's own may have been begun elsewhere, or
 * stand behind those of tenants with fewer.
 */
export const runAgent =
  (executor: RunExecutor) =>
  (_context: JobContext, _delivery: Delivery): Promise<void> => {
    executor.wake()
    return Promise.resolve()
  }
