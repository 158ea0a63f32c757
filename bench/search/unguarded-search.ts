import type pg from 'pg'
import { at } from './layout.ts'

/** What a search reads, besides graphs, which are named at run time. */
const GUARDED = [
  'private.search_segments',
  'private.search_lexemes',
  'private.search_vectors',
  'private.term_statistics',
  'private.vector_sets',
  'ai.chunks',
  'ai.sources',
]

type Policy = { condition: string; is_permissive: boolean }
type Routine = { oid: string; schema: string; name: string; definition: string }

/**
 * Copies ai.search and what it calls into schema bench, reading views in place of the tables: with the conditions of their
 * policies, written out. Run by a role that is held to no policy, bench.search() does what ai.search() does for the same claims.
 */
export async function createUnguardedSearch(client: pg.Client, role: string): Promise<void> {
  const relations = GUARDED.map((name) => name.split('.') as [schema: string, relation: string])
  for (const [schema, relation] of relations) {
    const { rows } = await client.query<Policy>(
      `select pg_get_expr(polqual, polrelid) as condition, polpermissive as is_permissive
       from pg_policy where polrelid = $1::regclass and polcmd in ('r', '*') and polqual is not null`,
      [`${schema}.${relation}`],
    )
    const permitted = rows.filter((policy) => policy.is_permissive).map(({ condition }) => `(${condition})`)
    const restricted = rows.filter((policy) => !policy.is_permissive).map(({ condition }) => ` and (${condition})`)
    if (permitted.length === 0) throw new Error(`${schema}.${relation} has no policy for select.`)
    await client.query(
      `create view bench.${relation} as select * from ${schema}.${relation} where (${permitted.join(' or ')})${restricted.join('')}`,
    )
  }
  // Definer functions are held to no policy as they are.
  const { rows: routines } = await client.query<Routine>(
    `select pg_proc.oid, nspname as schema, proname as name, pg_get_functiondef(pg_proc.oid) as definition
     from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
     where nspname in ('ai', 'private') and prokind = 'f' and not prosecdef and proname not like 'policy\\_%'`,
  )
  const copied = copiedRoutines(routines)
  const names = [...relations.map(([, relation]) => relation), ...copied.map(({ name }) => name)]
  await client.query('set check_function_bodies = off')
  for (const { schema, name, definition } of copied) {
    let copy = definition.replace(`FUNCTION ${schema}.${name}(`, `FUNCTION bench.${name}(`)
    for (const other of names) copy = copy.replace(new RegExp(`\\b(private|ai)\\.${other}\\b`, 'g'), `bench.${other}`)
    await client.query(copy)
  }
  await client.query('reset check_function_bodies')
  await client.query(`grant usage on schema bench to ${role}`)
  await client.query(`grant select on ${relations.map(([, relation]) => `bench.${relation}`).join(', ')} to ${role}`)
}

/** ai.search and, of what it calls, everything from which one of the tables can be reached. */
function copiedRoutines(routines: Routine[]): Routine[] {
  const mentions = (routine: Routine, name: string) =>
    new RegExp(`\\b${name.replace('.', '\\.')}\\b`).test(routine.definition)
  const calls = (routine: Routine) =>
    routines.filter((other) => other !== routine && mentions(routine, `${other.schema}.${other.name}`))
  const search = routines.filter(({ schema, name }) => schema === 'ai' && name === 'search')
  if (search.length !== 1) throw new Error(`There are ${search.length} functions ai.search.`)
  const reached = new Set(search)
  for (const routine of reached) for (const called of calls(routine)) reached.add(called)
  const copied = new Set([...reached].filter((routine) => GUARDED.some((name) => mentions(routine, name))))
  for (let size = -1; size !== copied.size; ) {
    size = copied.size
    for (const routine of reached) if (calls(routine).some((called) => copied.has(called))) copied.add(routine)
  }
  return [...copied]
}
