import { useState } from 'react'
import { PageHeader, Stack } from '../../ui/index.ts'
import { ChainCheck } from './chain-check.tsx'
import { Events } from './events.tsx'
import { ExportButton } from './export-button.tsx'
import { Filters, NO_FILTER, type Filter } from './filters.tsx'

/** Who did what, as whom and through which agent: the append-only log of the tenant. */
export default function Audit() {
  const [filter, setFilter] = useState<Filter>(NO_FILTER)
  return (
    <>
      <PageHeader
        title="Audit"
        description="Written by the database in the transaction of the act itself, in a chain of hashes. Nobody can change or remove a row, the secret key included."
        actions={<ExportButton filter={filter} />}
      />
      <Stack>
        <ChainCheck />
        <Filters filter={filter} onChange={setFilter} />
        <Events filter={filter} />
      </Stack>
    </>
  )
}
