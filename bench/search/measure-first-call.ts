import type { BenchDatabase } from './database.ts'
import type { Corpus } from './corpus.ts'
import { median } from '../support/stats.ts'
import { at } from './layout.ts'
import type { Query } from './queries.ts'
import type { FirstCall } from './results.ts'
import { CallerSession, type Times } from './sessions.ts'
import { askOurs } from './variants.ts'

const CONNECTIONS = 7

/** The first and the second search of a new connection, medians of several. The first plans all statements of the search. */
export async function measureFirstCall(database: BenchDatabase, corpus: Corpus, queries: Query[]): Promise<FirstCall> {
  const first: Times[] = []
  const second: Times[] = []
  for (let n = 0; n < CONNECTIONS; n++) {
    const session = await CallerSession.open(database.connect)
    try {
      const query = at(queries, n % queries.length)
      first.push(await askOurs(session, corpus, query))
      second.push(await askOurs(session, corpus, query))
    } finally {
      await session.close()
    }
  }
  return { first: mediansOf(first), second: mediansOf(second) }
}

function mediansOf(times: Times[]): Times {
  const known = times.flatMap(({ cpu }) => (cpu === null ? [] : [cpu]))
  return { wall: median(times.map(({ wall }) => wall)), cpu: known.length === times.length ? median(known) : null }
}
