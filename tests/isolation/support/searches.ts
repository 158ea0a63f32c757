import { MODEL } from './fill.ts'

/** A statement, and how many keys in random order it looks up by itself: items of a phrase, sources of a filter. */
export type Search = { sql: string; lookups: number }

/** What a person may ask about one topic of corpus.sql: every leg, fusion, filter and operator of ai.search by name. */
export function searchesAbout(topic: number): Record<string, Search> {
  const question = `(select isolation.question(${topic}))`
  const point = `(select isolation.question_point(${topic})), '${MODEL}'`
  const search = (args: string[], lookups = 0): Search => ({
    sql: `select * from ai.search(${args.join(', ')})`,
    lookups,
  })
  const sources = `source_ids => array(select md5('own source ' || n)::uuid from generate_series(0, 9) as n)`
  const phrase = `(select '"' || isolation.word(${topic} * 7) || '" ' || isolation.question(${topic}))`
  const common = `(select string_agg(isolation.word(90000 + n), ' ') from generate_series(0, 5) as n)`
  return {
    hybrid: search([question, point]),
    'hybrid, 100 rows': search([question, point, 'match_count => 100']),
    vectors: search([question, point, `method => 'vector_search'`, 'match_count => 60']),
    text: search([question, `method => 'full_text'`, 'match_count => 60']),
    weighted: search([question, point, `fusion => 'weighted'`]),
    explained: search([question, point, 'explain => true']),
    'explained, weighted': search([question, point, `fusion => 'weighted'`, 'explain => true']),
    'one per source, no copies': search([question, point, 'max_per_source => 1', 'deduplicate => true']),
    'some sources': search([question, point, sources], 10),
    'by metadata': search([question, point, `filter_metadata => '{"year": 2021}'`], 84),
    'a phrase': search([phrase, point], 60),
    'without a word': search([
      `(select isolation.question(${topic}) || ' -' || isolation.word(${topic} * 7 + 3))`,
      point,
    ]),
    'an identifier, mistyped': search([`(select 'INV-2024-9' || lpad((${topic} * 11)::text, 4, '0'))`, point]),
    'common words': search([common, point]),
    'a word nobody has': search([`'xylophone'`, `method => 'full_text'`]),
  }
}
