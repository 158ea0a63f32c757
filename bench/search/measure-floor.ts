import { median } from '../support/stats.ts'
import type { BenchDatabase } from './database.ts'
import type { Corpus } from './corpus.ts'
import { CLASSES } from './layout.ts'
import { perClass } from './measure-latency.ts'
import type { Query } from './queries.ts'
import { shuffle, stream } from './random.ts'
import type { Floor, PerClass } from './results.ts'
import { CallerSession } from './sessions.ts'
import { askOurs, askFloor } from './variants.ts'

const REPEATS = 2

/**
 * What is left of ai.search when there is nothing to look for: it asks what the caller may see, as ai.search does, and reads the
 * rows it is told of from the tables, under row-level security.
 */
const FLOOR = `
  create function bench.floor(query text, query_embedding extensions.vector, embedding_model text, chunk_ids uuid[])
  returns table (chunk_id uuid, source_id uuid, text text, score double precision)
  language plpgsql stable
  set search_path = '' set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan
  as $$
  declare
    scope private.search_scope := private.caller_search_scope('chunk', null, null, null, floor.embedding_model);
  begin
    if scope.segments is null then
      return;
    end if;
    return query
    select chunks.id, sources.id, chunks.text, 1 / hit.place::float8
    from unnest(floor.chunk_ids) with ordinality as hit (id, place)
    join ai.chunks on chunks.id = hit.id
    left join ai.sources on sources.id = chunks.source_id
    order by hit.place;
  end
  $$`

/**
 * The same searches, and calls that are told what those have found; in turns. What these cost, for rights and rows, no way of
 * searching saves.
 */
export async function measureFloor(
  database: BenchDatabase,
  corpus: Corpus,
  queries: PerClass<Query[]>,
): Promise<PerClass<Floor>> {
  const admin = await database.connect()
  await admin.query(FLOOR)
  await admin.end()
  const session = await CallerSession.open(database.connect)
  try {
    const random = stream(corpus.seed, 'order of floors')
    const times = perClass(() => ({ search: [] as number[], floor: [] as number[] }))
    for (const name of CLASSES) {
      for (let round = 0; round <= REPEATS; round++) {
        for (const query of queries[name]) {
          const { found } = await askOurs(session, corpus, query)
          for (const which of shuffle(random, ['search', 'floor'] as ('search' | 'floor')[])) {
            const answer = await (which === 'search'
              ? askOurs(session, corpus, query)
              : askFloor(session, corpus, query, found))
            if (String(answer.found) !== String(found)) throw new Error(`Another answer than before to ${query.text}.`)
            if (round > 0) times[name][which].push(answer.cpu ?? answer.wall) // the first round warms up
          }
        }
      }
    }
    return perClass((name) => {
      const { search, floor } = times[name]
      return { searchMs: median(search), floorMs: median(floor), share: median(floor) / median(search) }
    })
  } finally {
    await session.close()
  }
}
