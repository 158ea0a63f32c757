import { beforeAll, afterEach, describe, expect, test } from 'vitest'
import type pg from 'pg'
import type { LogFields } from '../../worker/log.ts'
import { maintainSearch } from '../../worker/jobs/maintain-search.ts'
import { eventually } from '../support/eventually.ts'
import { noNativeServer } from '../support/prepared-database.ts'
import { useStack } from '../support/stack.ts'
import { spawnWorker, type WorkerUnderTest } from './ingestion-support.ts'
import {
  addChunks,
  directionOf,
  HARBOR,
  inSnapshot,
  makeBase,
  MERIDIAN_MEMBER,
  openSession,
  OWNER,
  type Base,
} from './search-support.ts'

// Few dimensions, so that the graph's answers are exact ones, too, and can be compared row by row.
const MODEL = { model: 'graph-8', dimensions: 8 }
/** More than searches compare one by one when there is a graph. */
const COUNT = 4_200

const stack = useStack()
let base: Base
let next = COUNT
const workers: WorkerUnderTest[] = []
afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.kill())))

beforeAll(async () => {
  base = await makeBase(stack.db, MODEL.model)
  await addChunks(
    stack.db,
    base,
    Array.from({ length: COUNT }, (_, index) => index),
    MODEL,
  )
}, 120_000)

type Set = { id: number; graph_state: string; graph_table: string | null; shared_count: number }
async function vectorSet(): Promise<Set> {
  const [row] = await stack.db.query<Set>(
    'select id, graph_state, graph_table, shared_count from private.vector_sets where tenant_id = $1 and embedding_model = $2',
    [HARBOR, MODEL.model],
  )
  return row as Set
}

/** Runs the upkeep once, and tells the events it logged. */
async function maintain(graphBuildFrom: number, graphRetireBelow: number): Promise<string[]> {
  const events: string[] = []
  const log = (event: string, _fields?: LogFields) => void events.push(event)
  await maintainSearch(
    { settings: { databaseUrl: stack.dbUrl, graphBuildFrom, graphRetireBelow }, log: { info: log, error: log } },
    { jobId: 'test', signal: new AbortController().signal },
  )
  return events
}
const build = () => maintain(4_000, 2_500)
const retire = () => maintain(1_000_000, 1_000_000)

/** Makes the retired graph old enough to be dropped. */
const age = () =>
  stack.db.query(`update private.vector_sets set graph_changed_at = graph_changed_at - interval '2 minutes'`)

async function withoutGraph(): Promise<void> {
  if ((await vectorSet()).graph_state === 'building') {
    await stack.db.query('select private.retire_vector_graph($1)', [(await vectorSet()).id])
  }
  await retire()
  await age()
  await maintain(1_000_000, 0)
  expect(await vectorSet()).toMatchObject({ graph_state: 'none', graph_table: null })
}

/** Rows by which the graph and what it is a copy of differ. */
async function differences(): Promise<number> {
  const { id, graph_table: table } = await vectorSet()
  const [row] = await stack.db.query<{ count: number }>(
    `select count(*)::int as count
     from (select item_id, segment_id, embedding::text from private.${table}) as graph
     full join (select item_id, segment_id, embedding::text from private.search_vectors where vector_set_id = $1 and is_shared) as kept
     using (item_id, segment_id, embedding)
     where graph.item_id is null or kept.item_id is null`,
    [id],
  )
  return row?.count ?? -1
}

describe('the upkeep of the index', () => {
  test('is queued by the sweep: a large set gets its graph, chunks move when the language changes', async () => {
    await withoutGraph()
    await stack.db.query(`update ai.knowledge_bases set language = 'german' where id = $1`, [base.knowledgeBaseId])
    const worker = await spawnWorker(stack)
    workers.push(worker)
    await eventually(() => {
      const events = worker.lines.map(({ event }) => event)
      expect(events).toEqual(expect.arrayContaining(['maintenance_queued', 'chunks_moved', 'graph_built']))
    }, 60_000)
    expect(worker.lines.filter(({ level }) => level === 'error')).toEqual([])
    expect(await vectorSet()).toMatchObject({ graph_state: 'ready' })
    expect(await differences()).toBe(0)
    const segments = await stack.db.query(
      'select language, item_count from private.search_segments where knowledge_base_id = $1 and item_count > 0',
      [base.knowledgeBaseId],
    )
    expect(segments).toEqual([{ language: 'german', item_count: COUNT }])
  }, 120_000)

  test('takes the graph of a set that has become small, and drops it later', async () => {
    if ((await vectorSet()).graph_state !== 'ready') await build()
    const { graph_table: table } = await vectorSet()
    expect(await retire()).toEqual(['graph_retired'])
    expect(await vectorSet()).toMatchObject({ graph_state: 'retired' })
    expect(await maintain(1_000_000, 0)).toEqual([])
    await age()
    expect(await maintain(1_000_000, 0)).toEqual(['graphs_dropped'])
    expect(await vectorSet()).toMatchObject({ graph_state: 'none' })
    expect(await stack.db.query(`select to_regclass('private.${table}')::text as name`)).toEqual([{ name: null }])
  }, 60_000)

  test.each(['begun', 'filled', 'caught up with'])(
    'goes on with a graph that was only %s when its maintainer died',
    async (until) => {
      await withoutGraph()
      const { id } = await vectorSet()
      const step = (name: string) => stack.db.query(`select private.${name}($1)`, [id])
      await step('begin_vector_graph')
      if (until !== 'begun') await step('fill_vector_graph')
      if (until === 'caught up with') await step('catch_up_vector_graph')
      const [gone] = await addChunks(stack.db, base, [next++, next++, next++], MODEL)
      await stack.db.query('delete from ai.chunks where id = $1', [gone])
      expect(await build()).toEqual(['graph_built'])
      expect(await vectorSet()).toMatchObject({ graph_state: 'ready' })
      expect(await differences()).toBe(0)
    },
    60_000,
  )
})

describe.skipIf(noNativeServer())('on a server, at the same time', () => {
  type Seen = { state: string; found: string[]; nearest: string[] }

  /** What search finds near a direction and what is nearest, in one snapshot. */
  const look = (session: pg.Client, direction: number[]): Promise<Seen> =>
    inSnapshot(session, OWNER, async () => {
      const vector = JSON.stringify(direction)
      const { rows: sets } = await session.query<{ graph_state: string }>(
        'select graph_state from private.vector_sets where embedding_model = $1',
        [MODEL.model],
      )
      const { rows: found } = await session.query<{ chunk_id: string }>(
        `select chunk_id from ai.search('quay', $1::extensions.vector, $2, method => 'vector_search', match_count => 10)`,
        [vector, MODEL.model],
      )
      const { rows: nearest } = await session.query<{ item_id: string }>(
        `select item_id from private.search_vectors
         where vector_set_id = (select id from private.vector_sets where embedding_model = $2)
         order by embedding operator(extensions.<#>) private.unit_vector($1::extensions.vector), item_id limit 10`,
        [vector, MODEL.model],
      )
      return {
        state: sets[0]?.graph_state ?? '',
        found: found.map(({ chunk_id }) => chunk_id),
        nearest: nearest.map(({ item_id }) => item_id),
      }
    })

  test('searches and writes go on while a graph is built, used, given up and dropped: every search is exact', async () => {
    await withoutGraph()
    let isOver = false
    const seen = new Map<string, number>()
    const wrong: unknown[] = []
    const search = async (name: string) => {
      const session = await openSession(stack.dbUrl)
      try {
        for (let turn = 0; !isOver; turn++) {
          const { state, found, nearest } = await look(session, directionOf(`${name} ${turn}`, MODEL.dimensions))
          seen.set(state, (seen.get(state) ?? 0) + 1)
          if (JSON.stringify(found) !== JSON.stringify(nearest)) wrong.push({ state, found, nearest })
        }
      } finally {
        await session.end()
      }
    }
    const write = async () => {
      for (let turn = 0; !isOver; turn++) {
        const added = await addChunks(stack.db, base, [next++, next++], MODEL)
        if (turn % 2 === 0) await stack.db.query('delete from ai.chunks where id = $1', [added[0]])
        await stack.db.query(
          'delete from ai.chunks where id = (select id from ai.chunks where indexed_source_id = $1 limit 1)',
          [base.indexedSourceId],
        )
      }
    }
    const enough = (state: string) => eventually(() => expect(seen.get(state) ?? 0).toBeGreaterThanOrEqual(20), 30_000)
    const going = Promise.all([search('one'), search('two'), write()])
    try {
      await enough('none')
      await build()
      await enough('ready')
      expect(await differences()).toBe(0)
      await retire()
      await enough('retired')
      await age()
      // Not while a writer has the set; the sweep would come back, too.
      await eventually(async () => {
        await maintain(1_000_000, 0)
        expect(await vectorSet()).toMatchObject({ graph_state: 'none' })
      }, 30_000)
      seen.delete('none')
      await enough('none')
    } finally {
      isOver = true
      await going
    }
    expect(wrong).toEqual([])
  }, 180_000)

  test('two maintainers build one graph, once', async () => {
    await withoutGraph()
    const events = (await Promise.all([build(), build(), build()])).flat()
    expect(events).toEqual(['graph_built'])
    expect(await vectorSet()).toMatchObject({ graph_state: 'ready' })
    expect(await differences()).toBe(0)
  }, 60_000)

  test('a worker that is killed while it fills leaves nothing that another could not take over', async () => {
    await withoutGraph()
    const { id } = await vectorSet()
    await stack.db.query('select private.begin_vector_graph($1)', [id])
    const { graph_table: table } = await vectorSet()
    // Filling waits for this reader, so that the worker can be killed exactly there.
    const reader = await openSession(stack.dbUrl)
    try {
      await reader.query('begin')
      await reader.query(`select count(*) from private.${table}`)
      const doomed = await spawnWorker(stack)
      workers.push(doomed)
      const filling = () =>
        stack.db.query(
          `select pid from pg_stat_activity
           where datname = current_database() and application_name = 'bulkhead-maintenance' and query like '%fill_vector_graph%'
             and state = 'active'`,
        )
      await eventually(async () => expect(await filling()).toHaveLength(1), 30_000)
      await doomed.kill()
      await eventually(async () => expect(await filling()).toEqual([]), 30_000)
    } finally {
      await reader.end()
    }
    expect(await vectorSet()).toMatchObject({ graph_state: 'building' })
    expect(await build()).toEqual(['graph_built'])
    expect(await differences()).toBe(0)
  }, 90_000)

  test('somebody of another tenant reads nothing of it, however directly', async () => {
    await withoutGraph()
    await build()
    const { graph_table: table, shared_count: count } = await vectorSet()
    const session = await openSession(stack.dbUrl)
    const read = (person: string) =>
      inSnapshot(session, person, async () => {
        const { rows } = await session.query<{ count: number }>(`select count(*)::int as count from private.${table}`)
        return rows[0]?.count
      })
    try {
      expect(await read(OWNER)).toBe(count)
      expect(await read(MERIDIAN_MEMBER)).toBe(0)
    } finally {
      await session.end()
    }
  }, 60_000)
})
