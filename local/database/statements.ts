// Splits SQL text into statements where the Supabase CLI does, so that both record the same history.

const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
const WORD = /[A-Za-z0-9_$\u0080-\uffff]/

/** Index behind the quoted text, comment or dollar-quoted body that starts at `at`; `at` itself when none starts there. */
const skipOpaque = (sql: string, at: number): number => {
  const char = sql[at]
  const next = sql[at + 1]
  if (char === '-' && next === '-') return endOfLine(sql, at)
  if (char === '/' && next === '*') return endOfBlockComment(sql, at)
  if (char === '"') return endOfQuoted(sql, at, '"', false)
  if (char === "'") return endOfQuoted(sql, at, "'", /(^|[^A-Za-z0-9_$])[eE]$/.test(sql.slice(Math.max(0, at - 2), at)))
  if (char === '$' && !WORD.test(sql[at - 1] ?? ' ')) {
    DOLLAR_TAG.lastIndex = at
    const tag = DOLLAR_TAG.exec(sql)?.[0]
    if (tag) {
      const end = sql.indexOf(tag, at + tag.length)
      return end < 0 ? sql.length : end + tag.length
    }
  }
  return at
}

const endOfLine = (sql: string, at: number): number => {
  const end = sql.indexOf('\n', at)
  return end < 0 ? sql.length : end
}

const endOfBlockComment = (sql: string, start: number): number => {
  let depth = 0
  for (let at = start; at < sql.length; at++) {
    const pair = sql.slice(at, at + 2)
    if (pair === '/*') depth++
    else if (pair === '*/') depth--
    else continue
    at++
    if (depth === 0) return at + 1
  }
  return sql.length
}

const endOfQuoted = (sql: string, start: number, quote: string, escapes: boolean): number => {
  for (let at = start + 1; at < sql.length; at++) {
    if (escapes && sql[at] === '\\') at++
    else if (sql[at] === quote) {
      if (sql[at + 1] !== quote) return at + 1
      at++
    }
  }
  return sql.length
}

/** Length of the `begin atomic ... end` body that starts at `at`, as in SQL-standard functions; 0 when none does. */
const atomicBody = (sql: string, at: number): number => {
  const opening = /^begin\s+atomic\b/i.exec(sql.slice(at, at + 64))
  if (!opening || WORD.test(sql[at - 1] ?? ' ')) return 0
  let depth = 1
  for (let position = at + opening[0].length; position < sql.length; ) {
    const behind = skipOpaque(sql, position)
    if (behind > position) {
      position = behind
      continue
    }
    const word = /^[A-Za-z_]\w*/.exec(sql.slice(position, position + 64))?.[0]
    if (!word) {
      position++
      continue
    }
    // `case ... end` is the only other construct that closes with END inside such a body.
    if (/^case$/i.test(word)) depth++
    if (/^end$/i.test(word) && --depth === 0) return position + word.length - at
    position += word.length
  }
  return sql.length - at
}

/**
 * Statements of a SQL file in order, trimmed and without their closing semicolons; comments stay with the statement
 * that follows them. Empty statements are left out.
 */
export const splitStatements = (sql: string): string[] => {
  const statements: string[] = []
  let start = 0
  let parentheses = 0
  for (let at = 0; at < sql.length; ) {
    const behind = Math.max(skipOpaque(sql, at), at + atomicBody(sql, at))
    if (behind > at) {
      at = behind
      continue
    }
    if (sql[at] === '(') parentheses++
    else if (sql[at] === ')') parentheses = Math.max(0, parentheses - 1)
    // Semicolons inside parentheses belong to CREATE RULE ... DO (...; ...).
    else if (sql[at] === ';' && parentheses === 0) {
      statements.push(sql.slice(start, at + 1))
      start = at + 1
    }
    at++
  }
  statements.push(sql.slice(start))
  return statements.map((statement) => statement.trim().replace(/;+$/, '').trim()).filter((text) => text.length > 0)
}
