import { BulkheadError } from '../../../../client/errors.ts'

/** Postgres changes no row instead of refusing where a policy hides it. @throws when nothing was changed. */
export function oneChanged(rows: readonly unknown[]): void {
  if (rows.length > 0) return
  throw new BulkheadError('Nothing was changed.', {
    code: 'forbidden',
    status: 403,
    details: {
      hint: 'Your role does not reach that far, or somebody else was faster. Load the page anew to see how it stands.',
    },
  })
}
