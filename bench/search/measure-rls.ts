import { randomBytes } from 'node:crypto'
import type { BenchDatabase } from './database.ts'
import type { Corpus } from './corpus.ts'
import { perClass } from './measure-latency.ts'
import type { Query } from './queries.ts'
import { shuffle, stream } from './random.ts'
import type { PerClass, RlsRatio } from './results.ts'
import { CallerSession } from './sessions.ts'
import { createUnguardedSearch } from './unguarded-search.ts'
import { askOurs, askUnguarded } from './variants.ts'
import { CLASSES } from './layout.ts'
import { median } from '../support/stats.ts'

const REPEATS = 2

/**
 * The same searches with the same claims, by `authenticated` and by a role with its rights that is held to no policy and asks
 * a copy of the search with the same conditions in its statements; in turns on two connections. What differs is what it costs
 * that Postgres insists.
 */
export async function measureRls(
  database: BenchDatabase,
  corpus: Corpus,
  queries: PerClass<Query[]>,
): Promise<PerClass<RlsRatio>> {
  const role = `bulkhead_bench_${randomBytes(4).toString('hex')}`
  const admin = await database.connect()
  // Roles belong to the server, not to the database: this one goes whatever happens.
  await admin.query(`create role ${role} nologin bypassrls in role authenticated`)
  database.onDrop(`drop role if exists ${role}`)
  await createUnguardedSearch(admin, role)
  const on = await CallerSession.open(database.connect)
  const off = await CallerSession.open(database.connect, role)
  try {
    const random = stream(corpus.seed, 'order of roles')
    const times = perClass(() => ({ on: [] as number[], off: [] as number[], differentAnswers: 0 }))
    for (let round = 0; round <= REPEATS; round++) {
      for (const name of CLASSES) {
        for (const query of queries[name]) {
          const found: Record<string, number[]> = {}
          for (const which of shuffle(random, ['on', 'off'] as ('on' | 'off')[])) {
            const answer = await (which === 'on' ? askOurs(on, corpus, query) : askUnguarded(off, corpus, query))
            found[which] = answer.found
            if (round > 0) times[name][which].push(answer.cpu ?? answer.wall) // the first round warms up
          }
          if (round > 0 && String(found.on) !== String(found.off)) times[name].differentAnswers++
        }
      }
    }
    return perClass((name) => {
      const { on, off, differentAnswers } = times[name]
      return { onMs: median(on), offMs: median(off), ratio: median(on) / median(off), differentAnswers }
    })
  } finally {
    await on.close()
    await off.close()
    await admin.end()
  }
}
