import { createBulkhead } from '../../client/index.ts'
import { writePdf } from './pdf.ts'
import { prosePages } from './prose.ts'
import { median, timed } from './stats.ts'
import { signIn, type Target } from './target.ts'

const RUNS = 3
const SEARCH_LIMIT_MS = 60_000

export type UploadResult = { median: number; runs: number; chunks: number; bytes: number }

/** Milliseconds from handing over a PDF to finding its last words by search. Each run uploads another document. */
export async function measureUpload(target: Target, pageCount: number): Promise<UploadResult> {
  const member = await signIn(target, 'member@harbor.example')
  const bulkhead = createBulkhead(member)
  const times: number[] = []
  let chunks = 0
  let bytes = 0
  for (let run = 0; run < RUNS; run++) {
    const marker = `zephyrine${'abc'[run]}${pageCount}`
    const pdf = writePdf(prosePages(pageCount, run + 1, marker))
    const file = new Blob([pdf as Uint8Array<ArrayBuffer>], { type: 'application/pdf' })
    const { ms, result: sourceId } = await timed(async () => {
      const { id } = await bulkhead.uploadSource(file, { name: `report-${pageCount}-${run}.pdf` })
      await bulkhead.waitUntilIndexed(id, { intervalMs: 50 })
      const question = { query: `What is the closing word ${marker}?`, sourceIds: [id] }
      const deadline = Date.now() + SEARCH_LIMIT_MS
      while (!(await bulkhead.search(question)).some(({ text }) => text.includes(marker))) {
        if (Date.now() > deadline) throw new Error(`${marker} was not found`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      return id
    })
    times.push(ms)
    const own = member
      .schema('ai')
      .from('chunks')
      .select('id', { count: 'exact', head: true })
      .eq('source_id', sourceId)
    chunks = (await own).count ?? 0
    bytes = pdf.length
  }
  return { median: median(times), runs: RUNS, chunks, bytes }
}
