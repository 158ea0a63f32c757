// R02, the part that depends on the machine: how well an attacker tells by the clock where B has documents. Not a test; run it
// by hand on a quiet machine:
//   TEST_DATABASE_URL=<superuser of a native PostgreSQL 17> node tests/isolation/measure-times.ts [repetitions]
// For each search it prints the AUC of wall time and, where the server's /proc is readable, of the server's CPU time; 0.5 is a
// coin. A shared HNSW graph is measured along with it, to show what the same attack finds there. Exit code 1 above 0.55.
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { asAttacker, attack, aucs, prepareAttack, PROBE_SEARCHES, PROBES } from './support/attack.ts'
import { buildGraph } from './support/fill.ts'
import { openWorld, TENANT } from './support/world.ts'

const BAR = 0.55
const repetitions = Math.max(1, Number(process.argv[2] ?? 5))

if (!process.env['TEST_DATABASE_URL']) {
  console.error('Set TEST_DATABASE_URL: times of PGlite say nothing about a server.')
  process.exit(2)
}

const world = await openWorld()
try {
  const [{ pid }] = (await world.run('select pg_backend_pid() as pid')) as [{ pid: number }]
  /** Milliseconds that the server has spent on this session; undefined where it runs elsewhere. */
  const cpu = (): number | undefined => {
    try {
      return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
    } catch {
      return undefined
    }
  }
  const median = (values: number[]) => values.sort((x, y) => x - y)[Math.floor(values.length / 2)]!

  const SHARED = (topic: number) => `(
    select item_id from isolation.shared
    order by embedding operator(extensions.<#>) isolation.question_point(${topic})::extensions.halfvec(64) limit 50) as found`

  /** Times of one topic, each the median of the repetitions. */
  const timing = (searches: Record<string, (topic: number) => string>) => (topic: number) =>
    asAttacker(world, async (run) => {
      const times: Record<string, number> = {}
      for (const [name, search] of Object.entries(searches)) {
        const wall: number[] = []
        const server: number[] = []
        for (let i = 0; i < repetitions; i++) {
          const [startedAt, before] = [performance.now(), cpu()]
          await run(`select * from ${search(topic)}`)
          wall.push(performance.now() - startedAt)
          const spent = cpu()
          if (before !== undefined && spent !== undefined) server.push(spent - before)
        }
        times[`${name}, wall`] = median(wall)
        if (server.length > 0) times[`${name}, cpu`] = median(server)
      }
      return times
    })

  await prepareAttack(world)
  const results: Record<string, number> = {}
  const measure = async (
    label: string,
    searches: Record<string, (topic: number) => string>,
    settle: () => Promise<void>,
  ) => {
    const notes = await attack(world, timing(searches), settle)
    for (const [name, value] of Object.entries(aucs(notes))) results[`${label}: ${name}`] = value
    console.error(`${label}: ${notes.length} probes, ${repetitions} repetitions each`)
  }
  await measure('exact', PROBE_SEARCHES, () => Promise.resolve())
  await buildGraph(world, 'a')
  await measure('graph', PROBE_SEARCHES, () => buildGraph(world, 'b'))
  const ours = Object.values(results)

  await world.exec(`
    create table isolation.shared (item_id uuid, tenant_id uuid, embedding extensions.halfvec(64));
    create index shared_hnsw on isolation.shared using hnsw (embedding extensions.halfvec_ip_ops);
    alter table isolation.shared enable row level security;
    grant select on isolation.shared to authenticated;
    create policy "members read what is theirs" on isolation.shared for select to authenticated
    using (tenant_id = any (array(select private.caller_tenant_ids())));
    set hnsw.iterative_scan = relaxed_order
  `)
  await measure('one shared graph, iterative', { vectors: SHARED }, () =>
    world.exec(`
      truncate isolation.shared;
      insert into isolation.shared
      select item_id, tenant_id, embedding from private.search_vectors where tenant_id in ('${TENANT.a}', '${TENANT.b}');
      set enable_seqscan = off; set enable_sort = off
    `),
  )
  for (const [name, value] of Object.entries(results)) console.log(`${value.toFixed(3)}  ${name}`)
  const worst = Math.max(...ours)
  console.log(`worst of ours ${worst.toFixed(3)}, allowed ${BAR}; ${2 * PROBES.length} probes`)
  process.exitCode = worst > BAR ? 1 : 0
} finally {
  await world.close()
}
