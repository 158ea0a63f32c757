import type { RunExecutor } from '../run-executor.ts'
import type { Delivery, JobContext } from './context.ts'

/**
 * Word that a run may be due. Which one is taken up, the database decides: the job's own may have been begun elsewhere, stand behind
 * another of its session, or behind those of tenants with fewer.
 */
export const runAgent =
  (executor: RunExecutor) =>
  (_context: JobContext, { id, tenantId }: Delivery): Promise<void> => {
    if (tenantId) executor.offer({ id, tenant_id: tenantId })
    else executor.wake()
    return Promise.resolve()
  }
