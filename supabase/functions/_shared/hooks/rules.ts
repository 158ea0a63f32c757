import { z } from 'zod'
import { AppError } from '../errors.ts'
import { parse } from '../http.ts'
import { compilePattern } from './pattern.ts'

/**
 * Rules of hooks: `field [NOT] CONTAINS|STARTS_WITH|MATCHES|IN value`, e.g. `tool_input.query CONTAINS 'drop table'`.
 *
 * `field` is a path into what the hook is told: `tool_name`, `event`, `output`, and the arguments by their own names (or
 * as `tool_input.query`). Objects and lists are compared as JSON, what is not there as an empty text. A value may stand in
 * single or double quotes (a quote or backslash in it after a backslash); without them it goes on to the end, trimmed. IN
 * takes values with commas between them, in brackets or not. MATCHES takes a regular expression (see pattern.ts), in quotes
 * as it is, without doubling backslashes. Case is ignored everywhere: a rule against `drop` is one against `DROP` too.
 */

const OPERATORS = ['CONTAINS', 'STARTS_WITH', 'MATCHES', 'IN'] as const
type Operator = (typeof OPERATORS)[number]

/** Characters of a condition. */
export const MAX_CONDITION_CHARS = 2000
/** Characters that MATCHES looks at; a longer text counts as refused, or padding would carry anything past a rule. */
export const MAX_SUBJECT_CHARS = 20_000
/** Rules of one hook. */
export const MAX_RULES = 50

const CONDITION =
  /^\s{0,100}([A-Za-z_][A-Za-z0-9_]{0,63}(?:\.[A-Za-z0-9_]{1,64}){0,9})\s{1,100}(NOT\s{1,100})?(CONTAINS|STARTS_WITH|MATCHES|IN)\b([^]*)$/

/** What a condition says of a subject: it holds, it does not, or the subject is too long to tell. */
type Verdict = boolean | 'too_long'

/** A condition that has been understood. */
export type Condition = {
  field: string[]
  negated: boolean
  operator: Operator
  holds(subject: string): Verdict
}

/** Rules of one hook as they are stored: one, or several of which the first that holds decides. */
const rule = z.object({
  condition: z
    .string('condition is required')
    .min(1, 'condition is required')
    .max(MAX_CONDITION_CHARS, `A condition may have at most ${MAX_CONDITION_CHARS} characters`),
  action: z.literal('deny', 'action must be deny').default('deny'),
  message: z.string().max(1000).optional(),
})

/** Keys that one rule may have. */
export const RULE_KEYS: readonly string[] = Object.keys(rule.shape)

/** `config` of a rule hook: `{condition, action, message}`, or `{rules: [...]}` of them. */
export const ruleConfig = z.union(
  [z.object({ rules: z.array(rule).min(1).max(MAX_RULES) }), rule],
  'config of a rule must hold condition, or rules with a condition each; action must be deny',
)

const refuse = (message: string): AppError => new AppError('invalid_request', message)

/**
 * Reads a condition.
 * @throws AppError `invalid_request` saying what was not understood.
 */
export function parseCondition(text: string): Condition {
  if (text.length > MAX_CONDITION_CHARS) {
    throw refuse(`A condition may have at most ${MAX_CONDITION_CHARS} characters`)
  }
  const parts = CONDITION.exec(text)
  const [, field, not, operator, rest] = parts ?? []
  if (field === undefined || operator === undefined || rest === undefined) {
    throw refuse(`A condition has the form: field [NOT] ${OPERATORS.join('|')} value`)
  }
  return {
    field: field.split('.'),
    negated: not !== undefined,
    operator: operator as Operator,
    holds: comparison(operator as Operator, rest.trim()),
  }
}

function comparison(operator: Operator, value: string): (subject: string) => Verdict {
  if (value === '') throw refuse('A condition needs a value')
  if (operator === 'MATCHES') {
    const quote = value[0] ?? ''
    const isQuoted = value.length > 1 && `'"`.includes(quote) && value.endsWith(quote)
    const pattern = compilePattern(isQuoted ? value.slice(1, -1) : value)
    return (subject) => (subject.length > MAX_SUBJECT_CHARS ? 'too_long' : pattern.test(subject))
  }
  if (operator === 'IN') {
    const values = new Set(listOf(value).map(fold))
    return (subject) => values.has(fold(subject))
  }
  const wanted = fold(single(value))
  return operator === 'CONTAINS'
    ? (subject) => fold(subject).includes(wanted)
    : (subject) => fold(subject).startsWith(wanted)
}

/** Without the differences that a model can put into a word at will: case, and forms of the same character. */
const fold = (text: string): string => text.normalize('NFKC').toLowerCase()

/** One value, in quotes or not. */
function single(text: string): string {
  const [value, rest] = quoted(text) ?? [text, '']
  if (rest !== '') throw refuse('There is something behind the value')
  if (value === '') throw refuse('A condition needs a value')
  return value
}

/** The value in quotes that a text begins with, and what follows it; null without quotes. */
function quoted(text: string): [value: string, rest: string] | null {
  const quote = text[0]
  if (quote !== "'" && quote !== '"') return null
  let value = ''
  for (let at = 1; at < text.length; at++) {
    const char = text[at] ?? ''
    if (char === quote) return [value, text.slice(at + 1).trimStart()]
    value += char === '\\' ? (text[++at] ?? '') : char
  }
  throw refuse('A quote is not closed')
}

function listOf(text: string): string[] {
  const closing = { '(': ')', '[': ']' }[text[0] ?? '']
  if (closing !== undefined && !text.endsWith(closing)) throw refuse('A bracket is not closed')
  let rest = (closing === undefined ? text : text.slice(1, -1)).trim()
  const values: string[] = []
  while (rest !== '') {
    const inQuotes = quoted(rest)
    const comma = inQuotes ? inQuotes[1].indexOf(',') : rest.indexOf(',')
    const value = inQuotes ? inQuotes[0] : (comma < 0 ? rest : rest.slice(0, comma)).trim()
    const behind = inQuotes ? inQuotes[1] : comma < 0 ? '' : rest.slice(comma)
    if (value === '' || (behind !== '' && !behind.startsWith(','))) throw refuse('The values of IN need commas between')
    values.push(value)
    rest = behind.slice(1).trim()
    if (behind !== '' && rest === '') throw refuse('The values of IN end with a comma')
  }
  if (values.length === 0) throw refuse('A condition needs a value')
  return values
}

/** Names under which clients know the arguments of a call; here they lie beside the other fields. */
const ARGUMENTS = ['data', 'tool_input', 'arguments']

const own = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined

/** The text a field has in what a hook is told. Only own fields count: a path cannot reach into JavaScript. */
function subjectOf(data: Record<string, unknown>, field: readonly string[]): string {
  const [first = '', ...rest] = field
  const isAlias = ARGUMENTS.includes(first) && rest.length > 0 && !Object.hasOwn(data, first)
  const value = (isAlias ? rest : field).reduce<unknown>(own, data)
  if (value === undefined || value === null) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value as string | number | boolean)
}

/** A rule that has been understood. */
export type Rule = { condition: Condition; message: string }

/**
 * Reads the `config` of a rule hook.
 * @throws AppError `invalid_request` for a config of another shape, or a condition that is not understood, naming its place.
 */
export function parseRules(config: unknown): Rule[] {
  const parsed = parse(ruleConfig, config)
  const rules = 'rules' in parsed ? parsed.rules : [parsed]
  return rules.map(({ condition, message }, index) => {
    try {
      return { condition: parseCondition(condition), message: message ?? 'Refused by a rule of this agent.' }
    } catch (error) {
      if (!(error instanceof AppError) || !('rules' in parsed)) throw error
      throw new AppError('invalid_request', `rules[${index}]: ${error.message}`, { cause: error })
    }
  })
}

/**
 * The message of the first rule that holds, or null. A text too long to be checked is refused: what cannot be judged must
 * not pass.
 * @param data arguments of the call, or what the event is about, with `event`, `tool_name` and `output` beside them.
 * @throws AppError as `parseRules`.
 */
export function denialBy(config: unknown, data: Record<string, unknown>): string | null {
  for (const { condition, message } of parseRules(config)) {
    const verdict = condition.holds(subjectOf(data, condition.field))
    if (verdict === 'too_long') return 'Refused: the text is too long to be checked.'
    if (verdict !== condition.negated) return message
  }
  return null
}
