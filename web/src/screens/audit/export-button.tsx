import { useMutation } from '@tanstack/react-query'
import { Download } from 'lucide-react'
import { useBackend } from '../../app/backend.ts'
import { Button, useToast } from '../../ui/index.ts'
import { type AuditEvent, readEvents } from './data.ts'
import type { Filter } from './filters.tsx'

const PAGE = 1_000
/** More than this is an export for a script, by `seq` (docs/audit.md). */
const MOST = 50_000

/** Saves the rows that the filter leaves as JSON lines, the oldest first. */
export function ExportButton({ filter }: { filter: Filter }) {
  const { supabase, tenant } = useBackend()
  const toast = useToast()
  const save = useMutation({
    mutationFn: async () => {
      const rows: AuditEvent[] = []
      for (;;) {
        const page = await readEvents(supabase, tenant.id, filter, { beforeSeq: rows.at(-1)?.seq ?? null, size: PAGE })
        rows.push(...page)
        if (page.length < PAGE || rows.length >= MOST) break
      }
      const lines = rows.reverse().map((row) => JSON.stringify(row))
      const url = URL.createObjectURL(new Blob([lines.join('\n'), '\n'], { type: 'application/x-ndjson' }))
      const link = document.createElement('a')
      link.href = url
      link.download = `audit-${new Date().toISOString().slice(0, 10)}.jsonl`
      link.click()
      setTimeout(() => URL.revokeObjectURL(url), 10_000)
      return rows.length
    },
    onSuccess: (count) =>
      toast.done(
        `${count} rows saved`,
        count >= MOST ? 'There are more: narrow the time, or export by a script.' : undefined,
      ),
    onError: (error) => toast.failed('Nothing was saved', error),
  })
  return (
    <Button
      icon={<Download size={16} aria-hidden />}
      busy={save.isPending && 'Reading the rows…'}
      onClick={() => save.mutate()}
    >
      Export
    </Button>
  )
}
