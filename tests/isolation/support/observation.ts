import { nodesOf, pagesOf, type Plan, type PlanNode } from './plans.ts'
import type { Search } from './searches.ts'
import { onNative, type World } from './world.ts'

/** What one person can learn from a search: the answer to the byte, and how much work it was. */
export type Observation = {
  /** The rows as JSON text, in their order; every column, so every score. */
  answer: string
  rows: number
  /** Pages touched, as often as it was repeated. */
  pages: number[]
  plans: Plan[]
  lookups: number
}

/** How often a search is repeated to learn how much its work varies by itself; PGlite has nobody who could disturb it. */
const REPETITIONS = onNative ? 5 : 2

/**
 * Runs each search as `person` in a session that has planned nothing yet, and again until its plans are kept.
 */
export async function observe(
  world: World,
  person: string,
  searches: Record<string, Search>,
): Promise<Record<string, Observation>> {
  const seen: Record<string, Observation> = {}
  await world.exec('discard plans')
  for (const [name, { sql, lookups }] of Object.entries(searches)) {
    const answer = `select count(*)::int as rows, coalesce(json_agg(found)::text, '') as answer from (${sql}) as found`
    const explain = `explain (analyze, buffers, timing off, format json) ${sql}`
    await world.as(person, (run) => run(answer))
    const { rows, plans } = await world.watch(person, (run) => run(answer))
    const pages = await world.as(person, async (run) => {
      const repeated: number[] = []
      for (let i = 0; i < REPETITIONS; i++) {
        const [explained] = await run<{ 'QUERY PLAN': unknown }>(explain)
        const plan = explained?.['QUERY PLAN']
        const [{ Plan: root }] = (typeof plan === 'string' ? JSON.parse(plan) : plan) as [{ Plan: PlanNode }]
        repeated.push(pagesOf(root))
      }
      return repeated
    })
    const [first] = rows as { rows: number; answer: string }[]
    seen[name] = { answer: first!.answer, rows: first!.rows, pages, plans, lookups }
  }
  return seen
}

/**
 * Pages that a search may touch more or fewer than before, besides one for each key in random order that it looks up: such
 * keys of one person lie in the fewer leaf pages together, the smaller the index. The same rows are read by the same
 * conditions whatever others have inserted, but an entry may lie a page further right after a split, and of two indexes that
 * serve a condition equally well (the primary key and another unique key of sources) the planner may take the other one.
 * Neither grows with what was inserted: 10,000 rows of another tenant fill hundreds of pages.
 */
const ALLOWED_PAGES = 4

/** Each scan with its pages, in the order of execution; says where a difference of the sums comes from. */
const scansOf = ({ plans }: Observation): string[] =>
  plans.flatMap(({ root }) =>
    [...nodesOf(root)]
      .filter((node) => node['Relation Name'] ?? node['Index Name'])
      .map((node) => `${node['Node Type']} ${node['Index Name'] ?? node['Relation Name']} ${pagesOf(node)}`),
  )

function otherScans(before: Observation, after: Observation): string {
  const [old, now] = [scansOf(before), scansOf(after)]
  const only = (lines: string[], others: string[]) => lines.filter((line) => !others.includes(line)).join(', ')
  return `-[${only(old, now)}] +[${only(now, old)}]`
}

/**
 * The pages of one observation. Not of any one repetition: a server has others on it, and when one of them, or autovacuum,
 * changes the catalogue, or so much happens that a session loses track of it, the next call reads its catalogue pages again.
 * That adds dozens of pages to one call or two. What others' rows add is added to every call, and so to the middle one.
 */
const usualPages = ({ pages }: Observation): number => pages.toSorted((a, b) => a - b)[(pages.length - 1) >> 1]!

/** Differences that somebody else's rows have made; an empty list is silence. */
export function differences(before: Record<string, Observation>, after: Record<string, Observation>): string[] {
  return Object.entries(before).flatMap(([name, old]) => {
    const now = after[name]!
    const found: string[] = []
    if (now.rows !== old.rows) found.push(`${name}: ${old.rows} rows before, ${now.rows} after`)
    else if (now.answer !== old.answer) found.push(`${name}: another answer`)
    if (Math.abs(usualPages(now) - usualPages(old)) > ALLOWED_PAGES + old.lookups) {
      found.push(`${name}: ${now.pages.join(' ')} pages, before ${old.pages.join(' ')} ${otherScans(old, now)}`)
    }
    return found
  })
}
