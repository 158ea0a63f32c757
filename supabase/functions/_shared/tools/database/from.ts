import { columnNameOf, hasOnly, listOf, namesOf, stringOf, unwrapNode } from './ast.ts'
import type { Node } from './parser.ts'
import type { Join, PlanTable } from './plan.ts'
import { subquery } from './conditions.ts'
import { QueryRefused } from './refusal.ts'
import { type AllowedTable, checkedColumn, findTable, isName } from './tables.ts'

/** Tables of one query. */
const MAX_TABLES = 6

/** Names under which the columns of a query can be found. */
export type Scope = {
  tables: PlanTable[]
  joins: Join[]
  /** Further conditions of ON clauses of inner joins. */ on: unknown[]
}

const badJoin = (problem: string): QueryRefused =>
  new QueryRefused(
    problem,
    'Tables are joined by INNER JOIN or LEFT JOIN along a foreign key, with the key columns compared by =. ' +
      'Example: select o.id, c.name from orders o join customers c on c.id = o.customer_id',
  )

/** Position of the table that a qualifier names. @throws QueryRefused when there is none. */
export function tableNamed(scope: Scope, qualifier: string): number {
  const index = scope.tables.findIndex((table) => table.alias === qualifier)
  if (index < 0)
    throw new QueryRefused(`Nothing in FROM is called ${qualifier}.`, 'Use the alias of the table if it has one.')
  return index
}

/** Reads a FROM clause. @throws QueryRefused for tables that are not allowed and joins a request cannot say. */
export function scopeOf(fromClause: unknown, allowed: readonly AllowedTable[]): Scope {
  const items = listOf(fromClause)
  if (items.length === 0) {
    throw new QueryRefused('The query reads from no table.', 'Write one SELECT ... FROM one of the available tables.')
  }
  if (items.length > 1) throw badJoin('Tables separated by commas cannot be joined.')
  const scope: Scope = { tables: [], joins: [], on: [] }
  addItem(scope, items[0], allowed)
  return scope
}

function addItem(scope: Scope, node: unknown, allowed: readonly AllowedTable[]): void {
  const [kind, fields] = unwrapNode(node)
  if (kind === 'RangeVar') addTable(scope, fields, allowed)
  else if (kind === 'JoinExpr') addJoin(scope, fields, allowed)
  else if (kind === 'RangeSubselect') throw subquery()
  else throw new QueryRefused('FROM can name tables only, no functions.', 'Name one of the available tables.')
}

function addTable(scope: Scope, fields: Node, allowed: readonly AllowedTable[]): void {
  const { schemaname, relname, alias } = fields as { schemaname?: string; relname?: string; alias?: Node }
  if (!hasOnly(fields, ['schemaname', 'relname', 'inh', 'relpersistence', 'alias']) || fields['inh'] !== true) {
    throw new QueryRefused('A table is named by itself or with its schema.', 'Example: select id from public.documents')
  }
  if (alias && !hasOnly(alias, ['aliasname'])) throw badJoin('An alias cannot rename columns.')
  const table = findTable(allowed, schemaname, relname ?? '')
  const name = alias ? String(alias['aliasname']) : table.name
  if (!isName(name)) throw badJoin('An alias may have letters, digits and underscores only.')
  if (scope.tables.some((other) => other.alias === name))
    throw badJoin(`Two tables are called ${name}: give them aliases.`)
  if (scope.tables.some((other) => other.schema === table.schema && other.name === table.name)) {
    throw badJoin('A table cannot be joined with itself.')
  }
  if (scope.tables.some((other) => other.schema !== table.schema)) {
    throw badJoin('Tables of different schemas cannot be joined: query one, then the other.')
  }
  if (scope.tables.length === MAX_TABLES) throw badJoin(`At most ${MAX_TABLES} tables can be joined.`)
  scope.tables.push({ ...table, alias: name })
}

function addJoin(scope: Scope, fields: Node, allowed: readonly AllowedTable[]): void {
  if (fields['isNatural'] === true) throw badJoin('NATURAL JOIN cannot be used: name the columns.')
  const kind = fields['jointype'] === 'JOIN_INNER' ? 'inner' : fields['jointype'] === 'JOIN_LEFT' ? 'left' : null
  if (kind === null) throw badJoin('RIGHT and FULL JOIN cannot be used: swap the tables and use LEFT JOIN.')
  if (!hasOnly(fields, ['jointype', 'larg', 'rarg', 'quals', 'usingClause', 'rtindex']))
    throw badJoin('A join cannot have an alias.')
  addItem(scope, fields['larg'], allowed)
  if (unwrapNode(fields['rarg'])[0] === 'JoinExpr') throw badJoin('Joins cannot be put in parentheses.')
  const before = scope.tables.length
  addItem(scope, fields['rarg'], allowed)

  const pairs: Join['pairs'][number][] = []
  const lefts = new Set<number>()
  if ('usingClause' in fields) {
    if (before !== 1) throw badJoin('USING is ambiguous with more than two tables: write ON.')
    lefts.add(0)
    for (const name of namesOf(fields['usingClause']))
      pairs.push({ left: checkedColumn(name), right: checkedColumn(name) })
  }
  for (const part of conjunctsOf(fields['quals'])) {
    const pair = keyPair(scope, part, before)
    if (pair) {
      lefts.add(pair.table)
      pairs.push({ left: pair.left, right: pair.right })
    } else if (kind === 'inner') {
      scope.on.push(part)
    } else {
      throw badJoin('ON of a LEFT JOIN can compare the key columns only; other conditions belong into WHERE.')
    }
  }
  const [left] = lefts
  if (left === undefined || lefts.size > 1) {
    throw badJoin(
      left === undefined ? 'A join needs ON with the key columns.' : 'ON can compare with one other table only.',
    )
  }
  scope.joins.push({ left, right: before, kind, pairs })
}

/** Parts of a condition joined by AND. */
function conjunctsOf(node: unknown): unknown[] {
  if (node === undefined) return []
  const [kind, fields] = unwrapNode(node)
  return kind === 'BoolExpr' && fields['boolop'] === 'AND_EXPR' ? listOf(fields['args']).flatMap(conjunctsOf) : [node]
}

/** `a.x = b.y`, where b is the table just joined; null for other conditions. */
function keyPair(scope: Scope, node: unknown, joined: number): { table: number; left: string; right: string } | null {
  const [kind, fields] = unwrapNode(node)
  if (kind !== 'A_Expr' || fields['kind'] !== 'AEXPR_OP' || listOf(fields['name']).length !== 1) return null
  if (stringOf(listOf(fields['name'])[0]) !== '=') return null
  const sides = [fields['lexpr'], fields['rexpr']].map((side) => {
    const [sideKind, sideFields] = unwrapNode(side)
    if (sideKind !== 'ColumnRef') return null
    const { qualifier, column } = columnNameOf(sideFields)
    if (qualifier === undefined) throw badJoin('Columns in ON need their table: a.b_id = b.id.')
    return { table: tableNamed(scope, qualifier), column }
  })
  const [first, second] = sides
  if (!first || !second) return null
  const [left, right] = second.table === joined ? [first, second] : [second, first]
  if (right.table !== joined || left.table === joined)
    throw badJoin('ON must compare the joined table with one before it.')
  return { table: left.table, left: left.column, right: right.column }
}
