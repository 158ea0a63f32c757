import { arrayText, quoted } from './ast.ts'
import { type Comparison, type Condition, pathText } from './plan.ts'
import { QueryRefused } from './refusal.ts'

// Values are written so that nothing in them can end the value: as list elements in double quotes, with backslashes before
// quotes and backslashes. Within and=(...) only characters are allowed that need none of that: there, readers differ in what
// a backslash means. Other values become regular expressions with the code points of their characters.

/** Parameters that mean something else than a filter on a column of that name. */
const RESERVED = new Set(['select', 'order', 'limit', 'offset', 'columns', 'on_conflict', 'and', 'or', 'not'])

/** Characters that mean nothing in and=(...). */
const SAFE = /^[\p{L}\p{N} _.:@%+=/#&;!?$'-]*$/u

/** Operators in the order in which they get a parameter of their own: those first that can be nowhere else. */
const FIRST: readonly Comparison['operator'][] = [
  'cs',
  'cd',
  'ov',
  'gt',
  'gte',
  'lt',
  'lte',
  'like',
  'ilike',
  'in',
  'is',
]

const refusedInside = (what: string): QueryRefused =>
  new QueryRefused(
    `${what} cannot be part of this condition.`,
    'Ask one query for each side of the OR, or write the condition once.',
  )

/**
 * The parameters of a request for conditions on one table that must all hold, e.g. `[['id', 'in.("7")']]`.
 * @throws QueryRefused for conditions PostgREST cannot be asked for.
 */
export function filtersOf(conditions: readonly Condition[]): [name: string, value: string][] {
  const parameters = new Map<string, string>()
  const inside: string[] = []
  const comparisons = merged(conditions.filter((condition) => condition.kind === 'comparison'))
  for (const comparison of comparisons.toSorted((a, b) => FIRST.indexOf(a.operator) - FIRST.indexOf(b.operator))) {
    const name = fieldOf(comparison)
    // One parameter for each column: readers differ in what several of one name mean.
    if (RESERVED.has(comparison.column.column) || parameters.has(name) || isJsonOrder(comparison))
      inside.push(treeFilter(comparison))
    else parameters.set(name, (comparison.not ? 'not.' : '') + parameterFilter(comparison))
  }
  for (const condition of conditions) {
    if (condition.kind !== 'comparison') inside.push(treeFilter(condition))
  }
  if (inside.length > 0) parameters.set('and', `(${inside.join(',')})`)
  return [...parameters]
}

/** Whether JSON is compared by order: readers differ in what a list of JSON values is. */
const isJsonOrder = ({ column, operator, values }: Comparison): boolean =>
  column.path.at(-1)?.arrow === '->' && /^[gl]te?$/.test(operator) && values.every((value) => SAFE.test(value))

const fieldOf = ({ column }: Comparison): string => column.column + pathText(column.path)

/** Comparisons of the same column by the same operator as one, where that means the same. */
function merged(comparisons: readonly Comparison[]): Comparison[] {
  const result: Comparison[] = []
  for (const next of comparisons) {
    const index = result.findIndex(
      (other) => fieldOf(other) === fieldOf(next) && other.operator === next.operator && other.not === next.not,
    )
    const other = result[index]
    const values = other && mergedValues(other, next)
    if (other && values) result[index] = { ...other, values }
    else result.push(next)
  }
  return result
}

function mergedValues(one: Comparison, two: Comparison): string[] | null {
  const union = [...new Set([...one.values, ...two.values])]
  switch (one.operator) {
    case 'in': {
      if (one.not) return union
      const both = one.values.filter((value) => two.values.includes(value))
      return both.length > 0 ? both : null
    }
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return union
    case 'like':
    case 'ilike':
      return one.not ? null : union
    default:
      return union.length === 1 ? union : null
  }
}

/** A comparison as the value of a parameter of its own. */
function parameterFilter({ operator, values }: Comparison): string {
  switch (operator) {
    case 'in':
      return `in.(${values.map(quoted).join(',')})`
    case 'is':
    case 'cs':
    case 'cd':
    case 'ov':
      return `${operator}.${values[0] ?? ''}`
    case 'like':
    case 'ilike': {
      // PostgREST takes * for %, and has no way to write a star.
      if (!values.some((value) => value.includes('*'))) return `${operator}(all).${arrayText(values)}`
      const patterns = values.map((value) => patternRegex(value))
      return `${operator === 'like' ? 'match' : 'imatch'}(all).${arrayText(patterns)}`
    }
    default:
      return `${operator}(all).${arrayText(values)}`
  }
}

/** A condition inside of and=(...). */
function treeFilter(condition: Condition): string {
  if (condition.kind !== 'comparison') return `${condition.kind}(${condition.parts.map(treeFilter).join(',')})`
  const { operator, values, not } = condition
  const name = fieldOf(condition)
  if (RESERVED.has(condition.column.column) && /^(and|or|not)$/.test(condition.column.column))
    throw refusedInside('A column of this name')
  const one = (filter: string) => `${name}.${not ? 'not.' : ''}${filter}`
  const every = (filters: string[]) => {
    const [first, ...more] = filters
    // not (a or b) is (not a) and (not b); several values otherwise come from conditions joined by AND.
    return more.length === 0 ? (first ?? '') : `${operator === 'in' && !not ? 'or' : 'and'}(${filters.join(',')})`
  }
  switch (operator) {
    case 'is':
      return one(`is.${values[0] ?? ''}`)
    case 'in': {
      const plain = values.filter((value) => SAFE.test(value))
      const other = values.filter((value) => !SAFE.test(value))
      return every([
        ...(plain.length > 0 ? [one(`in.(${plain.map(quoted).join(',')})`)] : []),
        ...other.map((value) => one(`match.${literalRegex(value)}`)),
      ])
    }
    case 'like':
    case 'ilike':
      return every(
        // Written without quotes, which some readers take for a part of the pattern; spaces at its ends would be lost.
        values.map((value) =>
          SAFE.test(value) && /^\S(.*\S)?$/.test(value)
            ? one(`${operator}.${value}`)
            : one(`${operator === 'like' ? 'match' : 'imatch'}.${patternRegex(value)}`),
        ),
      )
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      if (!values.every((value) => SAFE.test(value))) throw refusedInside('A comparison with such a value')
      return every(values.map((value) => one(`${operator}.${quoted(value)}`)))
    default:
      throw refusedInside('@>, <@ or &&')
  }
}

/** A character as PostgreSQL's regular expressions write it by code point; letters and digits as they are. */
function regexCharacter(character: string): string {
  if (/^[a-zA-Z0-9]$/.test(character)) return character
  const code = character.codePointAt(0) ?? 0
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

const literalRegex = (text: string): string => `^${[...text].map(regexCharacter).join('')}$`

/** The regular expression that matches what a LIKE pattern matches. */
function patternRegex(pattern: string): string {
  let regex = '^'
  let isEscaped = false
  for (const character of pattern) {
    if (isEscaped) regex += regexCharacter(character)
    else if (character === '%') regex += '.*'
    else if (character === '_') regex += '.'
    else if (character !== '\\') regex += regexCharacter(character)
    isEscaped = !isEscaped && character === '\\'
  }
  return `${regex}$`
}
