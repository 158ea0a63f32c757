import { hasOnly, type Literal, listOf, literalOf, literalsOf, namesOf, unwrapNode } from './ast.ts'
import type { Node } from './parser.ts'
import { type ColumnRef, type Comparison, type Condition, sameColumn } from './plan.ts'
import { QueryRefused } from './refusal.ts'

/** Finds out which column a node means; undefined for nodes that are no column. */
export type ResolveColumn = (node: unknown) => ColumnRef | undefined

/** Conditions and values of one query. Each costs space in the URL. */
const MAX_CONDITIONS = 100

const MIRRORED: Record<string, string> = { '<': '>', '>': '<', '<=': '>=', '>=': '<=', '=': '=', '<>': '<>' }
const COMPARISONS: Record<string, Comparison['operator']> = { '<': 'lt', '>': 'gt', '<=': 'lte', '>=': 'gte' }
const OPPOSITE: Partial<Record<Comparison['operator'], Comparison['operator']>> = {
  lt: 'gte',
  gte: 'lt',
  gt: 'lte',
  lte: 'gt',
}
const CONTAINMENT: Record<string, Comparison['operator']> = { '@>': 'cs', '<@': 'cd', '&&': 'ov' }
const TESTS: Record<string, { value: string; not: boolean }> = {
  IS_TRUE: { value: 'true', not: false },
  IS_NOT_TRUE: { value: 'true', not: true },
  IS_FALSE: { value: 'false', not: false },
  IS_NOT_FALSE: { value: 'false', not: true },
  IS_UNKNOWN: { value: 'unknown', not: false },
  IS_NOT_UNKNOWN: { value: 'unknown', not: true },
}

const refused = (problem: string): QueryRefused =>
  new QueryRefused(
    problem,
    'WHERE compares a column with literals by =, <>, <, >, <=, >=, LIKE, ILIKE, IN, BETWEEN, IS NULL/TRUE/FALSE, @>, <@, && ' +
      "under AND, OR and NOT. Example: where status in ('open', 'late') and due_date < '2026-01-31' and title ilike '%invoice%'",
  )

/** Reads a WHERE clause. @throws QueryRefused for everything a request cannot say. */
export function conditionOf(node: unknown, resolve: ResolveColumn): Condition {
  let count = 0

  const comparison = (
    column: ColumnRef,
    operator: Comparison['operator'],
    values: readonly string[],
    not: boolean,
  ): Comparison => {
    count += Math.max(1, values.length)
    if (count > MAX_CONDITIONS) throw refused(`WHERE has more than ${MAX_CONDITIONS} conditions and values.`)
    const opposite = OPPOSITE[operator]
    return not && opposite
      ? { kind: 'comparison', column, operator: opposite, values, not: false }
      : { kind: 'comparison', column, operator, values, not }
  }

  const junction = (kind: 'and' | 'or', not: boolean, parts: Condition[]): Condition => ({
    kind: not ? (kind === 'and' ? 'or' : 'and') : kind,
    parts,
  })

  const columnOf = (node: unknown): ColumnRef => {
    const column = resolve(node)
    if (column) return column
    const [kind, fields] = unwrapNode(node)
    if (kind === 'SubLink') throw subquery()
    if (kind === 'FuncCall') throw functionCall(fields)
    if (kind === 'SQLValueFunction') throw valueFunction(fields)
    if (kind === 'TypeCast')
      throw refused("Columns cannot be cast in WHERE; data->'count' > '5' compares JSON numbers.")
    throw refused('A comparison needs a column on one side and a literal on the other.')
  }

  const valueOf = (node: unknown): Exclude<Literal, { kind: 'null' }> => {
    const literal = literalOf(node)
    if (literal?.kind === 'null') throw refused('Nothing is equal to NULL. Write IS NULL or IS NOT NULL.')
    if (literal) return literal
    const [kind, fields] = unwrapNode(node)
    if (kind === 'SubLink') throw subquery()
    if (kind === 'ParamRef') throw refused('Parameters like $1 have no value here. Write the value itself.')
    if (kind === 'FuncCall') throw functionCall(fields)
    if (kind === 'SQLValueFunction') throw valueFunction(fields)
    if (kind === 'TypeCast') throw refused('This cast changes the value. Write the literal in the form the column has.')
    if (kind === 'A_Expr' && fields['lexpr'] !== undefined) {
      // now() - interval '1 day': what is said about the function helps most.
      const [innerKind, inner] = unwrapNode(fields['lexpr'])
      if (innerKind === 'FuncCall') throw functionCall(inner)
      if (innerKind === 'SQLValueFunction') throw valueFunction(inner)
    }
    if (resolve(node)) throw refused('Two columns cannot be compared; only ON of a JOIN may do that.')
    throw refused('The value of a comparison must be a literal.')
  }

  const operatorOf = (fields: Node): string => {
    const names = namesOf(fields['name'])
    // OPERATOR(schema.=) may be anybody's operator.
    if (names.length !== 1) throw refused('Operators cannot be named with a schema.')
    return names[0] ?? ''
  }

  const expression = (fields: Node, not: boolean): Condition => {
    if (!hasOnly(fields, ['kind', 'name', 'lexpr', 'rexpr', 'rexpr_list_start', 'rexpr_list_end']))
      throw refused('Unknown syntax.')
    const operator = operatorOf(fields)
    const { lexpr, rexpr } = fields
    switch (fields['kind']) {
      case 'AEXPR_OP':
        return simple(operator, lexpr, rexpr, not)
      case 'AEXPR_IN': {
        const texts = literalsOf(((rexpr as Node)['List'] as Node | undefined)?.['items'])
        if (!texts) throw refused('IN needs a list of literals without NULL.')
        return comparison(columnOf(lexpr), 'in', texts, not !== (operator === '<>'))
      }
      case 'AEXPR_OP_ANY': {
        const elements = ((rexpr as Node)['A_ArrayExpr'] as Node | undefined)?.['elements']
        const texts = elements === undefined ? undefined : literalsOf(elements)
        if (operator !== '=' || !texts || texts.length === 0)
          throw refused('ANY can be used as column = ANY(ARRAY[...]) only.')
        return comparison(columnOf(lexpr), 'in', texts, not)
      }
      case 'AEXPR_LIKE':
      case 'AEXPR_ILIKE': {
        const name = fields['kind'] === 'AEXPR_LIKE' ? 'like' : 'ilike'
        return comparison(columnOf(lexpr), name, [valueOf(rexpr).text], not !== operator.startsWith('!'))
      }
      case 'AEXPR_BETWEEN':
      case 'AEXPR_NOT_BETWEEN': {
        const [from, to] = listOf(((rexpr as Node)['List'] as Node)['items'])
        const column = columnOf(lexpr)
        const outside = not !== (fields['kind'] === 'AEXPR_NOT_BETWEEN')
        return junction('and', outside, [
          comparison(column, 'gte', [valueOf(from).text], outside),
          comparison(column, 'lte', [valueOf(to).text], outside),
        ])
      }
      case 'AEXPR_DISTINCT':
      case 'AEXPR_NOT_DISTINCT': {
        const column = columnOf(lexpr)
        const isDistinct = not !== (fields['kind'] === 'AEXPR_DISTINCT')
        const literal = literalOf(rexpr)
        if (literal?.kind === 'null') return comparison(column, 'is', ['null'], isDistinct)
        return junction('and', isDistinct, [
          comparison(column, 'in', [valueOf(rexpr).text], isDistinct),
          comparison(column, 'is', ['null'], !isDistinct),
        ])
      }
      default:
        throw refused('This form of comparison cannot be used.')
    }
  }

  const simple = (operator: string, left: unknown, right: unknown, not: boolean): Condition => {
    const containment = CONTAINMENT[operator]
    if (containment) {
      const { text } = valueOf(right)
      if (!/^[{[]/.test(text)) throw refused(`${operator} needs an array or a JSON object or array on its right side.`)
      return comparison(columnOf(left), containment, [text], not)
    }
    if (!Object.hasOwn(MIRRORED, operator)) throw refused(`The operator ${operator} cannot be used.`)
    const isMirrored = !resolve(left) && resolve(right) !== undefined
    const [column, value] = isMirrored ? [right, left] : [left, right]
    const effective = isMirrored ? (MIRRORED[operator] ?? operator) : operator
    const reference = columnOf(column)
    const { text } = valueOf(value)
    const ordered = COMPARISONS[effective]
    return ordered
      ? comparison(reference, ordered, [text], not)
      : comparison(reference, 'in', [text], not !== (effective === '<>'))
  }

  const read = (node: unknown, not: boolean): Condition => {
    const [kind, fields] = unwrapNode(node)
    switch (kind) {
      case 'BoolExpr': {
        if (fields['boolop'] === 'NOT_EXPR') return read(listOf(fields['args'])[0], !not)
        const parts = listOf(fields['args']).map((part) => read(part, not))
        return junction(fields['boolop'] === 'AND_EXPR' ? 'and' : 'or', not, parts)
      }
      case 'A_Expr':
        return expression(fields, not)
      case 'NullTest':
        return comparison(columnOf(fields['arg']), 'is', ['null'], not !== (fields['nulltesttype'] === 'IS_NOT_NULL'))
      case 'BooleanTest': {
        const test = TESTS[String(fields['booltesttype'])]
        if (!test) throw refused('Unknown syntax.')
        return comparison(columnOf(fields['arg']), 'is', [test.value], not !== test.not)
      }
      case 'ColumnRef':
        return comparison(columnOf(node), 'in', ['true'], not)
      case 'SubLink':
        throw subquery()
      case 'FuncCall':
        throw functionCall(fields)
      default:
        throw refused('This cannot be a condition.')
    }
  }

  return simplified(read(node, false))
}

/** The error for a subquery. */
export const subquery = (): QueryRefused =>
  new QueryRefused(
    'Subqueries cannot be used.',
    'Join the other table through its foreign key (select a.x from a join b on b.id = a.b_id where b.y = 1), or ask in two ' +
      "queries and write what the first one found as literals: where id in ('...', '...')",
  )

/** The error for current_date, current_user and the like. */
const valueFunction = (fields: Node): QueryRefused =>
  functionCall({ funcname: [{ String: { sval: /DATE|TIME/.test(String(fields['op'])) ? 'now' : 'current_user' } }] })

/** The error for a function that is none of the five aggregates. Names of functions are not repeated. */
export function functionCall(fields: Node): QueryRefused {
  const name = namesOf(fields['funcname']).at(-1) ?? ''
  if (
    /^(now|clock_timestamp|transaction_timestamp|statement_timestamp|date_trunc|age|timeofday|localtime)/.test(name)
  ) {
    return new QueryRefused(
      'Functions of time cannot be used.',
      `Write the moment as a literal; it is now ${new Date().toISOString()}. Example: where created_at >= '${new Date().toISOString().slice(0, 10)}'`,
    )
  }
  if (/^(lower|upper)$/.test(name)) {
    return new QueryRefused('Functions cannot be used.', "ILIKE ignores case: where name ilike 'anna'")
  }
  return new QueryRefused(
    'Functions cannot be used, except for count, sum, avg, min and max of a column in the SELECT list.',
    'Select the columns themselves and work with the values you get.',
  )
}

/** Flattens ANDs and ORs, and makes ORs of equalities of one column into one list. */
function simplified(condition: Condition): Condition {
  if (condition.kind === 'comparison') return condition
  const parts: Condition[] = []
  for (const part of condition.parts.map(simplified)) {
    if (part.kind === condition.kind) parts.push(...part.parts)
    else parts.push(part)
  }
  const [first] = parts
  if (
    condition.kind === 'or' &&
    first?.kind === 'comparison' &&
    parts.every((part) => isEquality(part, first.column))
  ) {
    return { ...first, values: parts.flatMap((part) => (part as Comparison).values) }
  }
  return { kind: condition.kind, parts }
}

const isEquality = (part: Condition, column: ColumnRef): boolean =>
  part.kind === 'comparison' && part.operator === 'in' && !part.not && sameColumn(part.column, column)
