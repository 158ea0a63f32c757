import type pg from 'pg'
import { at } from './layout.ts'

/**
 * Relations whose policies do more than guard: they hold a condition of the search itself, or the choice of what is
 * searched. Without row-level security the statements need them said explicitly.
 */
const CONDITIONED = ['search_lexemes', 'search_segments']

type Routine = { oid: string; schema: string; name: string; definition: string }

/**
 * Copies ai.search and what it calls into schema bench, where the conditions that its policies contribute stand in the
 * statements. Run by a role that is held to no policy, bench.search() does what ai.search() does for the same claims, with
 * the same plans, less the policies.
 */
export async function createUnguardedSearch(client: pg.Client, role: string): Promise<void> {
  for (const relation of CONDITIONED) {
    const { rows } = await client.query<{ condition: string }>(
      `select pg_get_expr(polqual, polrelid) as condition from pg_policy where polrelid = $1::regclass and polcmd = 'r'`,
      [`private.${relation}`],
    )
    if (rows.length !== 1)
      throw new Error(`private.${relation} has ${rows.length} policies for select; one was expected.`)
    await client.query(
      `create view bench.${relation} as select * from private.${relation} where ${at(rows, 0).condition}`,
    )
  }
  // Definer functions are held to no policy as they are.
  const { rows: routines } = await client.query<Routine>(
    `select pg_proc.oid, nspname as schema, proname as name, pg_get_functiondef(pg_proc.oid) as definition
     from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
     where nspname in ('ai', 'private') and prokind = 'f' and not prosecdef and proname not like 'policy\\_%'`,
  )
  const copied = copiedRoutines(routines)
  const names = [...CONDITIONED, ...copied.map(({ name }) => name)]
  await client.query('set check_function_bodies = off')
  for (const { schema, name, definition } of copied) {
    let copy = definition.replace(`FUNCTION ${schema}.${name}(`, `FUNCTION bench.${name}(`)
    for (const other of names) copy = copy.replace(new RegExp(`\\b(private|ai)\\.${other}\\b`, 'g'), `bench.${other}`)
    await client.query(copy)
  }
  await client.query('reset check_function_bodies')
  await client.query(`grant usage on schema bench to ${role}`)
  await client.query(`grant select on ${CONDITIONED.map((relation) => `bench.${relation}`).join(', ')} to ${role}`)
}

/** ai.search and, of what it calls, everything from which a conditioned relation can be reached. */
function copiedRoutines(routines: Routine[]): Routine[] {
  const mentions = (routine: Routine, name: string) =>
    new RegExp(`\\b(private|ai)\\.${name}\\b`).test(routine.definition)
  const calls = (routine: Routine) => routines.filter((other) => other !== routine && mentions(routine, other.name))
  const search = routines.filter(({ schema, name }) => schema === 'ai' && name === 'search')
  if (search.length !== 1) throw new Error(`There are ${search.length} functions ai.search.`)
  const reached = new Set(search)
  for (const routine of reached) for (const called of calls(routine)) reached.add(called)
  const copied = new Set([...reached].filter((routine) => CONDITIONED.some((relation) => mentions(routine, relation))))
  for (let size = -1; size !== copied.size; ) {
    size = copied.size
    for (const routine of reached) if (calls(routine).some((called) => copied.has(called))) copied.add(routine)
  }
  return [...copied]
}
