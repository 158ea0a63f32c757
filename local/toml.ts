// The part of TOML that supabase/config.toml uses: tables, strings, numbers, booleans and arrays of them.

export type TomlValue = string | number | boolean | TomlValue[] | TomlTable
export type TomlTable = { [key: string]: TomlValue }

const KEY = /^(?:[A-Za-z0-9_-]+|"[^"]*")$/

const unquote = (key: string): string => (key.startsWith('"') ? key.slice(1, -1) : key)

const splitKey = (dotted: string): string[] => dotted.match(/"[^"]*"|[^.]+/g)?.map((part) => unquote(part.trim())) ?? []

/** The text of a line without its comment. */
const withoutComment = (line: string): string => {
  let quote = ''
  for (let at = 0; at < line.length; at++) {
    const char = line[at] ?? ''
    if (quote) {
      if (char === '\\' && quote === '"') at++
      else if (char === quote) quote = ''
    } else if (char === '"' || char === "'") quote = char
    else if (char === '#') return line.slice(0, at)
  }
  return line
}

const parseValue = (text: string, where: string): TomlValue => {
  if (text === 'true' || text === 'false') return text === 'true'
  if (text.startsWith('"')) return JSON.parse(text) as string
  if (text.startsWith("'")) return text.slice(1, -1)
  if (text.startsWith('[') && text.endsWith(']')) {
    const items = text.slice(1, -1).match(/"(?:\\.|[^"\\])*"|'[^']*'|[^,\s][^,]*/g) ?? []
    return items.map((item) => parseValue(item.trim(), where))
  }
  const number = Number(text.replaceAll('_', ''))
  if (text !== '' && Number.isFinite(number)) return number
  throw new Error(`${where}: cannot read the value ${text}`)
}

const tableAt = (root: TomlTable, keys: string[]): TomlTable => {
  let table = root
  for (const key of keys) {
    const next = table[key]
    if (typeof next === 'object' && !Array.isArray(next)) table = next
    else table = table[key] = Object.create(null) as TomlTable
  }
  return table
}

/** Reads TOML text. @param file named in errors. @throws an Error with file and line for what it does not understand. */
export const parseToml = (text: string, file: string): TomlTable => {
  const root = Object.create(null) as TomlTable
  let table = root
  const lines = text.split(/\r?\n/)
  for (let index = 0; index < lines.length; index++) {
    const where = `${file}:${index + 1}`
    let line = withoutComment(lines[index] ?? '').trim()
    if (line === '') continue
    const header = /^\[([^[\]]+)\]$/.exec(line)?.[1]
    if (header) {
      table = tableAt(root, splitKey(header))
      continue
    }
    const equals = line.indexOf('=')
    const key = line.slice(0, equals).trim()
    if (equals < 0 || !KEY.test(key)) throw new Error(`${where}: cannot read this line`)
    // An array may span lines.
    while (/=\s*\[/.test(line) && !line.endsWith(']') && index + 1 < lines.length) {
      line += ` ${withoutComment(lines[++index] ?? '').trim()}`
    }
    table[unquote(key)] = parseValue(line.slice(equals + 1).trim(), where)
  }
  return root
}
